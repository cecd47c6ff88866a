using System.Globalization;
using System.Numerics;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>
/// How a value is laid out: what <c>"{:&gt;8.2f}".format(x)</c> and <c>"%8.2f" % x</c> have in common.
/// <see cref="Precision"/> is -1, the characters are NUL when not given.
/// </summary>
internal sealed record FormatSpec
{
    private const int MaxPrecision = 1000;

    public string Fill { get; init; } = " ";
    public char Align { get; init; }
    public char Sign { get; init; }
    public bool Alternate { get; init; }
    public char Grouping { get; init; }
    public long Width { get; init; }
    public int Precision { get; init; } = -1;
    public char Type { get; init; }

    /// <summary>Lays out the character of a code point.</summary>
    public string FormatCodePoint(BigInteger codePoint, RenderBudget budget)
    {
        if (codePoint < 0 || codePoint > 0x10FFFF) throw TemplateError.Evaluation("OverflowError", "%c arg not in range(0x110000)");
        return Pad("", Rune.IsValid((int)codePoint) ? new Rune((int)codePoint).ToString() : ((char)codePoint).ToString(), Align == '\0' ? '>' : Align, budget);
    }

    public string FormatText(string text, RenderBudget budget)
    {
        if (Precision >= 0 && CodePoints.Count(text) > Precision) text = text[..CodePoints.ToUnits(text, Precision)];
        return Pad("", text, Align == '\0' ? '<' : Align, budget);
    }

    public string FormatInteger(BigInteger value, RenderBudget budget)
    {
        (string prefix, string digits) = Type switch
        {
            'x' => ("0x", Radix(value, 4)),
            'X' => ("0X", Radix(value, 4).ToUpperInvariant()),
            'o' => ("0o", Radix(value, 3)),
            'b' => ("0b", Radix(value, 1)),
            _ => ("", BigInteger.Abs(value).ToString(CultureInfo.InvariantCulture)),
        };
        if (Precision > digits.Length) digits = digits.PadLeft(Precision, '0');
        string sign = SignOf(value.Sign < 0) + (Alternate ? prefix : "");
        return Pad(sign, GroupToWidth(digits, prefix.Length > 0 ? 4 : 3, sign.Length, budget), Align == '\0' ? '>' : Align, budget);
    }

    public string FormatFloat(double value, RenderBudget budget)
    {
        if (Precision > MaxPrecision) throw TemplateError.Limit($"A number is formatted with more than {MaxPrecision} digits.");
        string sign = SignOf(double.IsNegative(value) && !double.IsNaN(value));
        string digits = Digits(Math.Abs(value));
        if (char.IsUpper(Type)) digits = digits.ToUpperInvariant();
        int end = digits.AsSpan().IndexOfAnyExceptInRange('0', '9');
        string rest = end < 0 ? "" : digits[end..];
        digits = GroupToWidth(end < 0 ? digits : digits[..end], 3, sign.Length + rest.Length, budget) + rest;
        return Pad(sign, digits, Align == '\0' ? '>' : Align, budget);
    }

    private string Digits(double value)
    {
        if (!double.IsFinite(value)) return double.IsNaN(value) ? "nan" : "inf";
        int precision = Precision < 0 ? 6 : Precision;
        return char.ToLowerInvariant(Type) switch
        {
            'f' => PythonParsing.Fixed(value, precision) + (Alternate && precision == 0 ? "." : ""),
            '%' => PythonParsing.Fixed(value * 100, precision) + (Alternate && precision == 0 ? ".%" : "%"),
            'e' => Exponential(value, precision),
            'g' or 'n' => General(value, Math.Max(precision, 1), keepPoint: false),
            _ when Precision < 0 => PythonText.FloatRepr(value),
            _ => General(value, Math.Max(precision, 1), keepPoint: true),
        };
    }

    private string Exponential(double value, int precision)
    {
        (string digits, int exponent) = PythonParsing.Scientific(value, precision + 1);
        string mantissa = precision == 0 ? digits + (Alternate ? "." : "") : $"{digits[0]}.{digits[1..]}";
        return string.Create(CultureInfo.InvariantCulture, $"{mantissa}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}");
    }

    private string General(double value, int significant, bool keepPoint)
    {
        (string digits, int exponent) = PythonParsing.Scientific(value, significant);
        bool scientific = exponent < -4 || exponent >= (keepPoint ? significant - 1 : significant);
        string text = scientific ? Exponential(value, significant - 1) : PythonParsing.Fixed(value, Math.Max(0, significant - 1 - exponent));
        if (Alternate) return text.Contains('.') ? text : text + ".";
        if (!text.Contains('.')) return keepPoint && !scientific && !text.Contains('.') ? text + ".0" : text;
        int end = scientific ? text.IndexOf('e', StringComparison.Ordinal) : text.Length;
        string trimmed = text[..end].TrimEnd('0').TrimEnd('.');
        return (keepPoint && !scientific && !trimmed.Contains('.') ? trimmed + ".0" : trimmed) + text[end..];
    }

    private static string Radix(BigInteger value, int bits)
    {
        value = BigInteger.Abs(value);
        if (value.IsZero) return "0";
        List<char> digits = [];
        for (; !value.IsZero; value >>= bits) digits.Add("0123456789abcdef"[(int)(value & ((1 << bits) - 1))]);
        digits.Reverse();
        return new string([.. digits]);
    }

    private string SignOf(bool negative) => negative ? "-" : Sign is '+' or ' ' ? Sign.ToString() : "";

    /// <summary>The digits in groups. Zeros that fill the width are grouped as well; <paramref name="others"/> is the length of all else.</summary>
    private string GroupToWidth(string digits, int size, int others, RenderBudget budget)
    {
        string grouped = Group(digits, size);
        if (Grouping == '\0' || Fill != "0" || Align != '=' || grouped.Length + others >= Width || !digits.All(char.IsAsciiLetterOrDigit)) return grouped;
        budget.Text(Width);
        // Every full group brings a separator with it, and no number begins with one.
        long wanted = Width - others;
        long count = wanted - (wanted / (size + 1)) + (wanted % (size + 1) == 0 ? 1 : 0);
        return Group(digits.PadLeft((int)count, '0'), size);
    }

    private string Group(string digits, int size)
    {
        if (Grouping == '\0' || !digits.All(char.IsAsciiLetterOrDigit)) return digits;
        for (int i = digits.Length - size; i > 0; i -= size) digits = digits.Insert(i, Grouping.ToString());
        return digits;
    }

    private string Pad(string sign, string text, char align, RenderBudget budget)
    {
        long missing = Width - CodePoints.Count(text) - sign.Length;
        if (missing <= 0) return sign + text;
        budget.Text(missing);
        long left = align switch { '<' => 0, '^' => missing / 2, _ => missing };
        string before = PythonOperators.Repeat(Fill, left, budget);
        string after = PythonOperators.Repeat(Fill, missing - left, budget);
        return align == '=' ? sign + before + text : before + sign + text + after;
    }
}
