using System.Numerics;

namespace FastGen.Models.Jinja;

/// <summary>Arithmetic on int (of any size up to <see cref="MaxDigits"/> digits), bool and float by Python's rules.</summary>
internal static class PythonNumber
{
    /// <summary>Decimal digits that Python converts between int and str by default.</summary>
    public const int MaxDigits = 4300;
    private const int MaxBits = 14_284;

    public static bool IsNumber(object? value) => value is long or double or bool or BigInteger;

    public static bool IsInteger(object? value) => value is long or bool or BigInteger;

    /// <summary>An int in its smallest form; refuses one that is too large.</summary>
    public static object Normalize(BigInteger value)
    {
        if (value >= long.MinValue && value <= long.MaxValue) return (long)value;
        if (value.GetBitLength() > MaxBits) throw TemplateError.Limit($"Rendering made an integer of more than {MaxDigits} digits.");
        return value;
    }

    public static BigInteger ToBig(object? value) => value switch
    {
        bool flag => flag ? 1 : 0,
        long integer => integer,
        _ => (BigInteger)value!,
    };

    public static double ToDouble(object? value)
    {
        double number = value switch
        {
            double given => given,
            long integer => integer,
            _ => Nearest(ToBig(value)),
        };
        if (double.IsInfinity(number) && value is BigInteger) throw TemplateError.Evaluation("OverflowError", "int too large to convert to float");
        return number;
    }

    /// <summary>The float nearest to an int; .NET's own conversion cuts off.</summary>
    public static double Nearest(BigInteger integer)
    {
        BigInteger magnitude = BigInteger.Abs(integer);
        int shift = (int)Math.Max(0, magnitude.GetBitLength() - 64);
        ulong top = (ulong)(magnitude >> shift);
        // What is shifted out decides only between two halves.
        if (!(magnitude & ((BigInteger.One << shift) - 1)).IsZero) top |= 1;
        return Math.CopySign(Math.ScaleB(top, shift), integer.Sign);
    }

    /// <summary>An int that fits a count or an index; larger ones are clamped, as slices do.</summary>
    public static long ToLong(object? value) => value switch
    {
        long integer => integer,
        bool flag => flag ? 1 : 0,
        _ => (long)BigInteger.Clamp(ToBig(value), long.MinValue, long.MaxValue),
    };

    public static object Add(object? left, object? right) =>
        IsInteger(left) && IsInteger(right) ? Normalize(ToBig(left) + ToBig(right)) : ToDouble(left) + ToDouble(right);

    public static object Subtract(object? left, object? right) =>
        IsInteger(left) && IsInteger(right) ? Normalize(ToBig(left) - ToBig(right)) : ToDouble(left) - ToDouble(right);

    public static object Multiply(object? left, object? right) =>
        IsInteger(left) && IsInteger(right) ? Normalize(ToBig(left) * ToBig(right)) : ToDouble(left) * ToDouble(right);

    public static object Divide(object? left, object? right)
    {
        if (IsInteger(left) && IsInteger(right))
        {
            if (ToBig(right).IsZero) throw ZeroDivision("division by zero");
            double quotient = Nearest(ToBig(left), ToBig(right));
            return double.IsFinite(quotient) ? quotient : throw TemplateError.Evaluation("OverflowError", "integer division result too large for a float");
        }
        double divisor = ToDouble(right);
        return divisor != 0 ? ToDouble(left) / divisor : throw ZeroDivision("float division by zero");
    }

    /// <summary>The float nearest to a quotient of ints.</summary>
    private static double Nearest(BigInteger dividend, BigInteger divisor)
    {
        const int ExactBits = 53;
        if (dividend.GetBitLength() <= ExactBits && divisor.GetBitLength() <= ExactBits) return (double)dividend / (double)divisor;
        // More bits than a float has, and one that stands for all the others.
        int shift = (int)(66 - BigInteger.Abs(dividend).GetBitLength() + BigInteger.Abs(divisor).GetBitLength());
        if (shift > 0) dividend <<= shift;
        else divisor <<= -shift;
        BigInteger quotient = BigInteger.DivRem(BigInteger.Abs(dividend), BigInteger.Abs(divisor), out BigInteger remainder);
        if (!remainder.IsZero) quotient |= 1;
        return Math.ScaleB(Nearest(quotient), -shift) * dividend.Sign * divisor.Sign;
    }

    public static object FloorDivide(object? left, object? right)
    {
        if (IsInteger(left) && IsInteger(right))
        {
            BigInteger divisor = ToBig(right);
            if (divisor.IsZero) throw ZeroDivision("integer division or modulo by zero");
            BigInteger quotient = BigInteger.DivRem(ToBig(left), divisor, out BigInteger remainder);
            return Normalize(!remainder.IsZero && remainder.Sign != divisor.Sign ? quotient - 1 : quotient);
        }
        double by = ToDouble(right);
        if (by == 0) throw ZeroDivision("float floor division by zero");
        double dividend = ToDouble(left);
        double rest = dividend % by;
        double whole = (dividend - rest) / by;
        if (rest != 0 && (by < 0) != (rest < 0)) whole -= 1;
        if (whole == 0) return Math.CopySign(0.0, dividend / by);
        // The quotient is all but a whole number; it may lie a little below.
        double floor = Math.Floor(whole);
        return whole - floor > 0.5 ? floor + 1 : floor;
    }

    public static object Modulo(object? left, object? right)
    {
        if (IsInteger(left) && IsInteger(right))
        {
            BigInteger divisor = ToBig(right);
            if (divisor.IsZero) throw ZeroDivision("integer modulo by zero");
            BigInteger remainder = ToBig(left) % divisor;
            return Normalize(!remainder.IsZero && remainder.Sign != divisor.Sign ? remainder + divisor : remainder);
        }
        double by = ToDouble(right);
        if (by == 0) throw ZeroDivision("float modulo");
        return FloatModulo(ToDouble(left), by);
    }

    private static double FloatModulo(double left, double right)
    {
        double remainder = left % right;
        if (remainder == 0) return Math.CopySign(0.0, right);
        return remainder < 0 != right < 0 ? remainder + right : remainder;
    }

    public static object Power(object? left, object? right)
    {
        if (IsInteger(left) && IsInteger(right) && ToBig(right).Sign >= 0)
        {
            BigInteger @base = ToBig(left);
            BigInteger exponent = ToBig(right);
            if (exponent.IsZero) return 1L;
            if (BigInteger.Abs(@base) <= 1) return (long)(exponent.IsEven ? @base * @base : @base);
            if (exponent * (@base.GetBitLength() - 1) > MaxBits) throw TemplateError.Limit($"Rendering made an integer of more than {MaxDigits} digits.");
            return Normalize(BigInteger.Pow(@base, (int)exponent));
        }
        double x = ToDouble(left), y = ToDouble(right);
        if (x == 0 && y < 0) throw ZeroDivision("0.0 cannot be raised to a negative power");
        if (x < 0 && y != Math.Floor(y)) throw TemplateError.Type("A negative number to a fractional power is a complex number, which templates do not have.");
        double power = Math.Pow(x, y);
        if (double.IsInfinity(power) && double.IsFinite(x) && double.IsFinite(y)) throw TemplateError.Evaluation("OverflowError", "(34, 'Numerical result out of range')");
        return power;
    }

    public static object Negate(object value) => IsInteger(value) ? Normalize(-ToBig(value)) : -(double)value;

    /// <summary>Exact order of two numbers; false for every comparison with NaN.</summary>
    public static int? Compare(object? left, object? right)
    {
        if (left is long a && right is long b) return a.CompareTo(b);
        if (IsInteger(left) && IsInteger(right)) return ToBig(left).CompareTo(ToBig(right));
        if (left is double x && right is double y) return double.IsNaN(x) || double.IsNaN(y) ? null : x.CompareTo(y);
        return left is double number ? CompareMixed(number, ToBig(right)) : -CompareMixed((double)right!, ToBig(left));
    }

    private static int? CompareMixed(double number, BigInteger integer)
    {
        if (double.IsNaN(number)) return null;
        if (double.IsInfinity(number)) return number > 0 ? 1 : -1;
        double whole = Math.Floor(number);
        int order = new BigInteger(whole).CompareTo(integer);
        return order == 0 && number > whole ? 1 : order;
    }

    private static TemplateError ZeroDivision(string reason) => TemplateError.Evaluation("ZeroDivisionError", reason);
}
