using System.Globalization;
using System.Numerics;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>Python's <c>str()</c> and <c>repr()</c>.</summary>
internal static class PythonText
{
    public static string Str(object? value, RenderBudget budget) => value switch
    {
        string text => text,
        Markup markup => markup.Text,
        Undefined => "",
        _ => Repr(value, budget),
    };

    public static string Repr(object? value, RenderBudget budget)
    {
        if (value is long integer) return integer.ToString(CultureInfo.InvariantCulture);
        StringBuilder text = new();
        WriteRepr(text, value, budget);
        return text.ToString();
    }

    /// <summary>As <see cref="Repr"/>, with escapes for all that is not ASCII.</summary>
    public static string Ascii(object? value, RenderBudget budget)
    {
        StringBuilder text = new();
        foreach (Rune rune in Repr(value, budget).EnumerateRunes())
        {
            if (rune.IsAscii) text.Append((char)rune.Value);
            else WriteEscape(text, rune);
        }
        return budget.Made(text.ToString());
    }

    private static void WriteRepr(StringBuilder text, object? value, RenderBudget budget)
    {
        int start = text.Length;
        budget.Step();
        RenderBudget.GuardStack();
        switch (value)
        {
            case null: text.Append("None"); break;
            case bool flag: text.Append(flag ? "True" : "False"); break;
            case long integer: text.Append(integer.ToString(CultureInfo.InvariantCulture)); break;
            case BigInteger integer:
                budget.Step(RenderBudget.LargeIntegerSteps);
                text.Append(integer.ToString(CultureInfo.InvariantCulture));
                break;
            case double number: text.Append(FloatRepr(number)); break;
            case string literal: WriteQuoted(text, literal); break;
            case Markup markup:
                text.Append("Markup(");
                WriteQuoted(text, markup.Text);
                text.Append(')');
                break;
            case PythonList list: WriteItems(text, '[', list.Items, "]", budget); break;
            case PythonTuple tuple: WriteItems(text, '(', tuple.Items, tuple.Items.Count == 1 ? ",)" : ")", budget); break;
            case PythonDict dict: WriteDict(text, dict, budget); break;
            case DictView view:
                text.Append(PythonTypes.Name(view)).Append('(');
                WriteItems(text, '[', view.Elements, "])", budget);
                break;
            case PythonRange range:
                text.Append(CultureInfo.InvariantCulture, $"range({range.Start}, {range.Stop}");
                text.Append(range.Step == 1 ? ")" : string.Create(CultureInfo.InvariantCulture, $", {range.Step})"));
                break;
            case JinjaNamespace @namespace:
                text.Append("<Namespace ");
                WriteDict(text, @namespace.Attributes, budget);
                text.Append('>');
                break;
            case LoopContext loop: text.Append(CultureInfo.InvariantCulture, $"<LoopContext {loop.Index}/{loop.Length}>"); break;
            case Undefined: text.Append("Undefined"); break;
            case Macro macro: text.Append(macro.Name is null ? "<Macro anonymous>" : $"<Macro '{macro.Name}'>"); break;
            case Callable callable: text.Append($"<{callable.TypeName} {callable.Name}>"); break;
            default: text.Append($"<{PythonTypes.Name(value)} object>"); break;
        }
        budget.Grown(start, text.Length);
    }

    private static void WriteItems(StringBuilder text, char open, IEnumerable<object?> items, string close, RenderBudget budget)
    {
        text.Append(open);
        bool first = true;
        foreach (object? item in items)
        {
            if (!first) text.Append(", ");
            WriteRepr(text, item, budget);
            first = false;
        }
        text.Append(close);
    }

    private static void WriteDict(StringBuilder text, PythonDict dict, RenderBudget budget)
    {
        text.Append('{');
        bool first = true;
        foreach ((object? key, object? value) in dict.Items)
        {
            if (!first) text.Append(", ");
            WriteRepr(text, key, budget);
            text.Append(": ");
            WriteRepr(text, value, budget);
            first = false;
        }
        text.Append('}');
    }

    /// <summary>Single quotes, unless the text has one and no double quote.</summary>
    private static void WriteQuoted(StringBuilder text, string value)
    {
        char quote = value.Contains('\'') && !value.Contains('"') ? '"' : '\'';
        text.Append(quote);
        for (int i = 0; i < value.Length;)
        {
            if (Rune.TryGetRuneAt(value, i, out Rune rune))
            {
                WriteRune(text, rune, quote);
                i += rune.Utf16SequenceLength;
            }
            else
            {
                text.Append(CultureInfo.InvariantCulture, $"\\u{(int)value[i++]:x4}");
            }
        }
        text.Append(quote);
    }

    private static void WriteRune(StringBuilder text, Rune rune, char quote)
    {
        switch (rune.Value)
        {
            case '\\': text.Append("\\\\"); break;
            case '\n': text.Append("\\n"); break;
            case '\r': text.Append("\\r"); break;
            case '\t': text.Append("\\t"); break;
            case int value when value == quote: text.Append('\\').Append(quote); break;
            case int when PythonChar.IsPrintable(rune): text.Append(rune.ToString()); break;
            default: WriteEscape(text, rune); break;
        }
    }

    public static void WriteEscape(StringBuilder text, Rune rune)
    {
        if (rune.Value < 0x100) text.Append(CultureInfo.InvariantCulture, $"\\x{rune.Value:x2}");
        else if (rune.IsBmp) text.Append(CultureInfo.InvariantCulture, $"\\u{rune.Value:x4}");
        else text.Append(CultureInfo.InvariantCulture, $"\\U{rune.Value:x8}");
    }

    /// <summary>The shortest digits that give the same float back; an exponent outside 1e-4 … 1e16.</summary>
    public static string FloatRepr(double value)
    {
        if (double.IsNaN(value)) return "nan";
        if (double.IsInfinity(value)) return value > 0 ? "inf" : "-inf";
        (string sign, string digits, int exponent) = ShortestDigits(value);
        if (exponent is < -4 or >= 16)
        {
            string mantissa = digits.Length == 1 ? digits : $"{digits[0]}.{digits[1..]}";
            return string.Create(CultureInfo.InvariantCulture, $"{sign}{mantissa}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}");
        }
        if (exponent < 0) return $"{sign}0.{new string('0', -exponent - 1)}{digits}";
        if (digits.Length <= exponent + 1) return $"{sign}{digits.PadRight(exponent + 1, '0')}.0";
        return $"{sign}{digits[..(exponent + 1)]}.{digits[(exponent + 1)..]}";
    }

    // .NET's "E16" would round; "R" is the shortest form, in either notation.
    private static (string Sign, string Digits, int Exponent) ShortestDigits(double value)
    {
        string text = Math.Abs(value).ToString("R", CultureInfo.InvariantCulture);
        string sign = double.IsNegative(value) ? "-" : "";
        int exponentAt = text.IndexOf('E', StringComparison.Ordinal);
        int exponent = exponentAt < 0 ? 0 : int.Parse(text.AsSpan(exponentAt + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        string mantissa = exponentAt < 0 ? text : text[..exponentAt];
        int point = mantissa.IndexOf('.', StringComparison.Ordinal);
        string all = mantissa.Replace(".", "", StringComparison.Ordinal);
        exponent += (point < 0 ? mantissa.Length : point) - 1;
        int leading = all.Length - all.TrimStart('0').Length;
        if (leading == all.Length) return (sign, "0", 0);
        string digits = all[leading..].TrimEnd('0');
        return (sign, digits, exponent - leading);
    }
}
