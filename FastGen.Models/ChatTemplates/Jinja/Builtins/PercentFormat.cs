using System.Numerics;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>printf-style formatting: <c>"%s has %5.1f%%" % (a, b)</c> and <c>"%(name)s" % {…}</c>.</summary>
internal sealed class PercentFormat
{
    private readonly string _format;
    private readonly object? _operand;
    private readonly bool _isMarkup;
    private readonly RenderBudget _budget;
    private readonly IReadOnlyList<object?> _values;
    private readonly StringBuilder _text = new();
    private int _position;
    private int _used;
    private bool _usedMapping;

    private PercentFormat(object format, object? operand, RenderBudget budget)
    {
        _format = PythonTypes.TextOf(format)!;
        _isMarkup = format is Markup;
        _operand = operand;
        _values = operand is PythonTuple tuple ? tuple.Items : [operand];
        _budget = budget;
    }

    public static object Format(object format, object? operand, RenderBudget budget) => TextMethods.Like(format, new PercentFormat(format, operand, budget).Run());

    private string Run()
    {
        while (_position < _format.Length)
        {
            char character = _format[_position++];
            if (character != '%') _text.Append(character);
            else Convert();
            if (_text.Length > RenderBudget.MaxTextLength) _budget.Text(_text.Length);
        }
        bool mappingIsEnough = _usedMapping || _operand is PythonDict or PythonList or PythonRange or Undefined;
        if (_used < _values.Count && !mappingIsEnough) throw TemplateError.Type("not all arguments converted during string formatting");
        return _budget.Made(_text.ToString());
    }

    private void Convert()
    {
        if (Peek() == '%')
        {
            _text.Append(_format[_position++]);
            return;
        }
        object? named = CallArguments.Missing;
        if (Peek() == '(') named = NamedValue();
        bool left = false, zero = false, alternate = false;
        char sign = '\0';
        for (; Peek() is '-' or '0' or '#' or ' ' or '+'; _position++)
        {
            char flag = Peek();
            left |= flag == '-';
            zero |= flag == '0';
            alternate |= flag == '#';
            if (flag == '+' || (flag == ' ' && sign != '+')) sign = flag;
        }
        long width = Count();
        if (width < 0)
        {
            left = true;
            width = -width;
        }
        int precision = -1;
        if (Peek() == '.')
        {
            _position++;
            precision = (int)Math.Clamp(Count(), 0, int.MaxValue);
        }
        if (Peek() is 'l' or 'h' or 'L') _position++;
        if (_position >= _format.Length) throw TemplateError.Value("incomplete format");
        char type = _format[_position++];
        FormatSpec spec = new()
        {
            Width = width,
            Precision = precision,
            Sign = sign,
            Alternate = alternate,
            Align = left ? '<' : zero ? '=' : '>',
            Fill = zero && !left ? "0" : " ",
            Type = type,
        };
        _text.Append(Convert(spec, named == CallArguments.Missing ? NextValue() : named));
    }

    private string Convert(FormatSpec spec, object? value)
    {
        FormatSpec textual = spec with { Fill = " ", Align = spec.Align == '<' ? '<' : '>' };
        switch (spec.Type)
        {
            case 's': return textual.FormatText(_isMarkup ? Markup.Escape(value, _budget) : PythonText.Str(value, _budget), _budget);
            case 'r' or 'a':
                string repr = spec.Type == 'r' ? PythonText.Repr(value, _budget) : PythonText.Ascii(value, _budget);
                return textual.FormatText(_isMarkup ? Markup.Escape(repr) : repr, _budget);
            case 'c': return FormatCharacter(textual with { Precision = -1 }, value);
            case 'd' or 'i' or 'u': return (spec with { Type = 'd' }).FormatInteger(value is double number ? Truncate(number) : RequireInteger(value, spec.Type), _budget);
            case 'x' or 'X' or 'o': return spec.FormatInteger(RequireInteger(value, spec.Type), _budget);
            case 'e' or 'E' or 'f' or 'F' or 'g' or 'G': return spec.FormatFloat(RequireFloat(value), _budget);
            default: throw TemplateError.Value($"unsupported format character '{spec.Type}' (0x{(int)spec.Type:x}) at index {_position - 1}");
        }
    }

    private string FormatCharacter(FormatSpec spec, object? value)
    {
        if (PythonTypes.TextOf(value) is not string text) return spec.FormatCodePoint(RequireInteger(value, spec.Type), _budget);
        return CodePoints.Count(text) == 1 ? spec.FormatText(text, _budget) : throw TemplateError.Type("%c requires int or char");
    }

    private static BigInteger Truncate(double number) => double.IsFinite(number) ? new BigInteger(number) : throw TemplateError.Evaluation("OverflowError", "cannot convert float infinity to integer");

    private static BigInteger RequireInteger(object? value, char type)
    {
        if (value is Undefined undefined) throw undefined.Error();
        if (PythonNumber.IsInteger(value)) return PythonNumber.ToBig(value);
        string wanted = type is 'd' or 'i' or 'u' ? "a real number" : "an integer";
        throw TemplateError.Type(type == 'c' ? "%c requires int or char" : $"%{type} format: {wanted} is required, not {PythonTypes.Name(value)}");
    }

    private static double RequireFloat(object? value)
    {
        if (value is Undefined undefined) throw undefined.Error();
        return PythonNumber.IsNumber(value) ? PythonNumber.ToDouble(value) : throw TemplateError.Type($"must be real number, not {PythonTypes.Name(value)}");
    }

    private char Peek() => _position < _format.Length ? _format[_position] : '\0';

    private long Count()
    {
        if (Peek() == '*')
        {
            _position++;
            object? value = NextValue();
            return PythonNumber.IsInteger(value) ? PythonNumber.ToLong(value) : throw TemplateError.Type("* wants int");
        }
        long count = 0;
        for (; char.IsAsciiDigit(Peek()); _position++) count = Math.Min(int.MaxValue, count * 10 + (Peek() - '0'));
        return count;
    }

    private object? NextValue() => _used < _values.Count && !_usedMapping ? _values[_used++] : throw TemplateError.Type("not enough arguments for format string");

    private object? NamedValue()
    {
        int end = _format.IndexOf(')', _position);
        if (end < 0) throw TemplateError.Value("incomplete format key");
        string key = _format[(_position + 1)..end];
        _position = end + 1;
        _usedMapping = true;
        PythonDict mapping = _operand as PythonDict ?? throw TemplateError.Type("format requires a mapping");
        return mapping.TryGet(key, _budget, out object? value) ? value : throw TemplateError.Evaluation("KeyError", PythonText.Repr(key, _budget));
    }
}
