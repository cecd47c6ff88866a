using System.Globalization;
using System.Numerics;

namespace FastGen.Models.Jinja;

/// <summary>Python's conversions between text and numbers.</summary>
internal static class PythonParsing
{
    /// <summary><c>int(text, base)</c>.</summary>
    public static bool TryInteger(string text, int @base, out object? integer)
    {
        integer = null;
        string digits = TextSplitting.Strip(text, null, left: true, right: true);
        bool negative = digits.StartsWith('-');
        if (negative || digits.StartsWith('+')) digits = digits[1..];
        string prefix = digits.Length > 1 && digits[0] == '0' ? digits[..2].ToLowerInvariant() : "";
        int prefixed = prefix switch { "0x" => 16, "0o" => 8, "0b" => 2, _ => 0 };
        if (prefixed != 0 && (@base == prefixed || @base == 0)) digits = digits[2..].TrimStart('_');
        if (@base == 0) @base = prefixed == 0 ? 10 : prefixed;
        if (@base is < 2 or > 36 || digits.Length is 0 or > PythonNumber.MaxDigits || digits[0] == '_' || digits[^1] == '_' || digits.Contains("__", StringComparison.Ordinal)) return false;
        BigInteger value = 0;
        foreach (char character in digits)
        {
            if (character == '_') continue;
            int digit = char.IsAsciiLetter(character) ? char.ToLowerInvariant(character) - 'a' + 10 : CharUnicodeInfo.GetDecimalDigitValue(character);
            if (digit < 0 || digit >= @base) return false;
            value = value * @base + digit;
        }
        integer = PythonNumber.Normalize(negative ? -value : value);
        return true;
    }

    /// <summary><c>float(text)</c>.</summary>
    public static bool TryFloat(string text, out double number)
    {
        string trimmed = TextSplitting.Strip(text, null, left: true, right: true);
        string unsigned = trimmed.TrimStart('+', '-').ToLowerInvariant();
        if (trimmed.Length - unsigned.Length <= 1 && unsigned is "inf" or "infinity" or "nan")
        {
            number = unsigned == "nan" ? double.NaN : trimmed[0] == '-' ? double.NegativeInfinity : double.PositiveInfinity;
            return true;
        }
        bool underscores = trimmed.Contains('_') && !trimmed.StartsWith('_') && !trimmed.EndsWith('_') && !trimmed.Contains("__", StringComparison.Ordinal);
        if (underscores) trimmed = trimmed.Replace("_", "", StringComparison.Ordinal);
        number = 0;
        return trimmed.Length > 0 && trimmed.All(character => char.IsAsciiDigit(character) || character is '+' or '-' or '.' or 'e' or 'E')
            && double.TryParse(trimmed, NumberStyles.Float & ~NumberStyles.AllowLeadingWhite & ~NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out number);
    }

    /// <summary><c>round(number, precision)</c>: to the nearest decimal of the exact binary value, half to even.</summary>
    public static double Round(double number, long precision)
    {
        if (!double.IsFinite(number) || precision > 323) return number;
        if (precision < -308) return Math.CopySign(0.0, number);
        if (precision >= 0) return double.Parse(Fixed(number, (int)precision), CultureInfo.InvariantCulture);
        (BigInteger numerator, BigInteger denominator) = Fraction(Math.Abs(number));
        BigInteger unit = BigInteger.Pow(10, (int)-precision);
        return Math.CopySign(PythonNumber.Nearest(RoundHalfEven(numerator, denominator * unit) * unit), number);
    }

    /// <summary>The exact value with <paramref name="decimals"/> digits behind the point, as C's <c>%.*f</c> writes it.</summary>
    public static string Fixed(double number, int decimals)
    {
        (BigInteger numerator, BigInteger denominator) = Fraction(Math.Abs(number));
        BigInteger scaled = RoundHalfEven(numerator * BigInteger.Pow(10, decimals), denominator);
        string digits = scaled.ToString(CultureInfo.InvariantCulture).PadLeft(decimals + 1, '0');
        string sign = double.IsNegative(number) ? "-" : "";
        return decimals == 0 ? sign + digits : $"{sign}{digits[..^decimals]}.{digits[^decimals..]}";
    }

    /// <summary>C's <c>%.*e</c>: the decimal exponent and <paramref name="significant"/> digits of the exact value.</summary>
    public static (string Digits, int Exponent) Scientific(double number, int significant)
    {
        if (number == 0) return (new string('0', significant), 0);
        (BigInteger numerator, BigInteger denominator) = Fraction(Math.Abs(number));
        int exponent = (int)Math.Floor(Math.Log10(Math.Abs(number)));
        while (true)
        {
            int shift = significant - 1 - exponent;
            BigInteger digits = shift >= 0 ? RoundHalfEven(numerator * BigInteger.Pow(10, shift), denominator) : RoundHalfEven(numerator, denominator * BigInteger.Pow(10, -shift));
            string text = digits.ToString(CultureInfo.InvariantCulture);
            if (text.Length == significant) return (text, exponent);
            exponent += text.Length > significant ? 1 : -1;
        }
    }

    private static BigInteger RoundHalfEven(BigInteger numerator, BigInteger denominator)
    {
        BigInteger quotient = BigInteger.DivRem(numerator, denominator, out BigInteger remainder);
        int half = (remainder * 2).CompareTo(denominator);
        return half > 0 || (half == 0 && !quotient.IsEven) ? quotient + 1 : quotient;
    }

    private static (BigInteger Numerator, BigInteger Denominator) Fraction(double magnitude)
    {
        long bits = BitConverter.DoubleToInt64Bits(magnitude);
        int exponent = (int)(bits >> 52);
        long mantissa = bits & 0xFFFFFFFFFFFFF;
        if (exponent == 0) exponent++;
        else mantissa |= 1L << 52;
        exponent -= 1075;
        return exponent >= 0 ? ((BigInteger)mantissa << exponent, 1) : (mantissa, BigInteger.One << -exponent);
    }
}
