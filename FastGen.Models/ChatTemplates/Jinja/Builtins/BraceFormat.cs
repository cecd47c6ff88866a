using System.Globalization;
using System.Numerics;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary><c>str.format</c>: fields in braces with attributes, indexes, conversions and format specifications.</summary>
internal sealed class BraceFormat(Interpreter interpreter, bool isMarkup, IReadOnlyList<object?> positional, IReadOnlyDictionary<string, object?> named)
{
    private const int MaxNesting = 2;
    private int _automatic;

    public static object Format(Interpreter interpreter, object format, IReadOnlyList<object?> positional, IReadOnlyDictionary<string, object?> named)
    {
        BraceFormat formatter = new(interpreter, format is Markup, positional, named);
        return TextMethods.Like(format, interpreter.Budget.Made(formatter.Run(PythonTypes.TextOf(format)!, MaxNesting)));
    }

    private string Run(string format, int nesting)
    {
        if (nesting == 0) throw TemplateError.Value("Max string recursion exceeded");
        StringBuilder text = new();
        for (int i = 0; i < format.Length;)
        {
            char character = format[i++];
            bool doubled = i < format.Length && format[i] == character;
            if (character is not ('{' or '}') || doubled)
            {
                text.Append(character);
                if (character is '{' or '}') i++;
                continue;
            }
            if (character == '}') throw TemplateError.Value("Single '}' encountered in format string");
            int end = FieldEnd(format, i);
            text.Append(Field(format[i..end], nesting));
            i = end + 1;
            if (text.Length > RenderBudget.MaxTextLength) interpreter.Budget.Text(text.Length);
        }
        return text.ToString();
    }

    private static int FieldEnd(string format, int start)
    {
        int depth = 1;
        for (int i = start; i < format.Length; i++)
        {
            depth += format[i] == '{' ? 1 : format[i] == '}' ? -1 : 0;
            if (depth == 0) return i;
        }
        throw TemplateError.Value(start == format.Length ? "Single '{' encountered in format string" : "expected '}' before end of string");
    }

    private string Field(string field, int nesting)
    {
        int colon = field.IndexOf(':', StringComparison.Ordinal);
        string spec = colon < 0 ? "" : field[(colon + 1)..];
        string name = colon < 0 ? field : field[..colon];
        char conversion = '\0';
        int bang = name.IndexOf('!', StringComparison.Ordinal);
        if (bang >= 0)
        {
            conversion = bang + 2 == name.Length ? name[bang + 1] : throw TemplateError.Value("expected ':' after conversion specifier");
            name = name[..bang];
        }
        object? value = Lookup(name);
        value = conversion switch
        {
            '\0' => value,
            's' => PythonText.Str(value, interpreter.Budget),
            'r' => PythonText.Repr(value, interpreter.Budget),
            'a' => PythonText.Ascii(value, interpreter.Budget),
            _ => throw TemplateError.Value($"Unknown conversion specifier {conversion}"),
        };
        spec = Run(spec, nesting - (spec.Contains('{') ? 1 : 0));
        if (isMarkup && value is Markup markup) return spec.Length == 0 ? markup.Text : throw TemplateError.Value("Unsupported format specification for Markup.");
        string text = FormatValue(value, spec);
        return isMarkup ? Markup.Escape(text) : text;
    }

    private object? Lookup(string name)
    {
        int end = name.AsSpan().IndexOfAny('.', '[');
        string first = end < 0 ? name : name[..end];
        object? value = First(first);
        for (int i = end < 0 ? name.Length : end; i < name.Length;)
        {
            if (name[i] == '.')
            {
                int next = name.AsSpan(i + 1).IndexOfAny('.', '[');
                int stop = next < 0 ? name.Length : i + 1 + next;
                value = Members.GetAttribute(value, name[(i + 1)..stop], interpreter.Budget);
                i = stop;
            }
            else
            {
                int close = name[i] == '[' ? name.IndexOf(']', i) : -1;
                if (close < 0) throw TemplateError.Value("Missing ']' in format string");
                string key = name[(i + 1)..close];
                value = Members.GetItem(value, long.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out long index) ? index : key, interpreter.Budget);
                i = close + 1;
            }
        }
        return value;
    }

    private object? First(string name)
    {
        if (name.Length > 0 && !name.All(char.IsAsciiDigit)) return named.TryGetValue(name, out object? value) ? value : throw TemplateError.Evaluation("KeyError", $"'{name}'");
        if (name.Length == 0 && _automatic < 0) throw TemplateError.Value("cannot switch from manual field specification to automatic field numbering");
        if (name.Length > 0 && _automatic > 0) throw TemplateError.Value("cannot switch from automatic field numbering to manual field specification");
        int index = name.Length == 0 ? _automatic++ : int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int given) ? given : int.MaxValue;
        if (name.Length > 0) _automatic = -1;
        return index < positional.Count ? positional[index] : throw TemplateError.Evaluation("IndexError", "Replacement index " + index + " out of range for positional args tuple");
    }

    private string FormatValue(object? value, string spec)
    {
        if (spec.Length == 0) return PythonText.Str(value, interpreter.Budget);
        if (value is not (string or Markup or bool or long or double or BigInteger)) throw TemplateError.Type($"unsupported format string passed to {PythonTypes.Name(value)}.__format__");
        bool isText = PythonTypes.IsText(value);
        FormatSpec parsed = Parse(spec, isText);
        string types = isText ? "s" : value is double ? "eEfFgGn%" : "bcdoxXneEfFgG%";
        if (parsed.Type != '\0' && !types.Contains(parsed.Type)) throw TemplateError.Value($"Unknown format code '{parsed.Type}' for object of type '{PythonTypes.Name(value)}'");
        CheckOptions(parsed, isText);
        if (isText) return parsed.FormatText(PythonTypes.TextOf(value)!, interpreter.Budget);
        if (value is double || parsed.Type is 'e' or 'E' or 'f' or 'F' or 'g' or 'G' or '%') return parsed.FormatFloat(PythonNumber.ToDouble(value), interpreter.Budget);
        if (parsed.Precision >= 0) throw TemplateError.Value("Precision not allowed in integer format specifier");
        BigInteger integer = PythonNumber.ToBig(value);
        return parsed.Type == 'c' ? parsed.FormatCodePoint(integer, interpreter.Budget) : parsed.FormatInteger(integer, interpreter.Budget);
    }

    /// <summary>Refuses the options that mean nothing for a text or a character.</summary>
    private static void CheckOptions(FormatSpec spec, bool isText)
    {
        bool groups = spec.Grouping == '\0' || (!isText && spec.Type is not ('c' or 'n') && (spec.Grouping == '_' || spec.Type is not ('b' or 'o' or 'x' or 'X')));
        if (!groups) throw TemplateError.Value($"Cannot specify '{spec.Grouping}' with '{(isText ? 's' : spec.Type)}'.");
        if (!isText && spec.Type != 'c') return;
        string what = isText ? "string format specifier" : "integer format specifier 'c'";
        if (spec.Sign != '\0') throw TemplateError.Value($"Sign not allowed in {what}");
        if (spec.Alternate) throw TemplateError.Value($"Alternate form (#) not allowed in {what}");
        if (isText && spec.Align == '=') throw TemplateError.Value($"'=' alignment not allowed in {what}");
    }

    private static FormatSpec Parse(string spec, bool isText)
    {
        int i = 0;
        char At(int index) => index < spec.Length ? spec[index] : '\0';
        static bool IsAlign(char character) => character is '<' or '>' or '=' or '^';
        string fill = " ";
        bool hasFill = false;
        char align = '\0';
        int fillLength = spec.Length > 1 && char.IsSurrogatePair(spec, 0) ? 2 : 1;
        if (IsAlign(At(fillLength)))
        {
            hasFill = true;
            fill = spec[..fillLength];
            align = spec[fillLength];
            i = fillLength + 1;
        }
        else if (IsAlign(At(0)))
        {
            align = spec[i++];
        }

        char sign = At(i) is '+' or '-' or ' ' ? spec[i++] : '\0';
        bool alternate = At(i) == '#' && i++ >= 0;
        if (At(i) == '0' && !hasFill)
        {
            fill = "0";
            if (align == '\0' && !isText) align = '=';
            i++;
        }
        long width = 0;
        for (; char.IsAsciiDigit(At(i)); i++) width = Math.Min(int.MaxValue, width * 10 + (At(i) - '0'));
        char grouping = At(i) is ',' or '_' ? spec[i++] : '\0';
        int precision = -1;
        if (At(i) == '.')
        {
            precision = 0;
            for (i++; char.IsAsciiDigit(At(i)); i++) precision = Math.Min(1_000_000, precision * 10 + (At(i) - '0'));
        }
        char type = i < spec.Length ? spec[i++] : '\0';
        if (i < spec.Length) throw TemplateError.Value("Invalid format specifier");
        return new FormatSpec { Fill = fill, Align = align, Sign = sign, Alternate = alternate, Width = width, Grouping = grouping, Precision = precision, Type = type };
    }
}
