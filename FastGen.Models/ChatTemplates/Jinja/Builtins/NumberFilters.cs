using System.Numerics;

namespace FastGen.Models.Jinja;

/// <summary>Filters on numbers, and those that make numbers.</summary>
internal static class NumberFilters
{
    public static object? Abs(Interpreter interpreter, object? value, CallArguments arguments)
    {
        if (!PythonNumber.IsNumber(value)) throw TemplateError.Type($"bad operand type for abs(): '{PythonTypes.Name(value)}'");
        return value is double number ? Math.Abs(number) : PythonNumber.Normalize(BigInteger.Abs(PythonNumber.ToBig(value)));
    }

    public static object? Int(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_int", 0, "default", "base");
        object? otherwise = given[0] == CallArguments.Missing ? 0L : given[0];
        if (value is Undefined undefined) throw undefined.Error();
        if (PythonTypes.TextOf(value) is string text)
        {
            interpreter.Budget.Text(text.Length);
            if (PythonParsing.TryInteger(text, (int)CallArguments.Integer(given[1], 10), out object? integer)) return integer;
            return PythonParsing.TryFloat(text, out double parsed) && double.IsFinite(parsed) ? PythonNumber.Normalize(new BigInteger(parsed)) : otherwise;
        }
        if (value is double number) return double.IsFinite(number) ? PythonNumber.Normalize(new BigInteger(number)) : otherwise;
        return PythonNumber.IsInteger(value) ? PythonNumber.Normalize(PythonNumber.ToBig(value)) : otherwise;
    }

    public static object? Float(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object? given = arguments.Bind("do_float", 0, "default")[0];
        object? otherwise = given == CallArguments.Missing ? 0.0 : given;
        if (value is Undefined undefined) throw undefined.Error();
        if (PythonTypes.TextOf(value) is string text) return PythonParsing.TryFloat(interpreter.Budget.Made(text), out double parsed) ? parsed : otherwise;
        return PythonNumber.IsNumber(value) ? PythonNumber.ToDouble(value) : otherwise;
    }

    public static object? Round(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_round", 0, "precision", "method");
        long precision = CallArguments.Integer(given[0], 0);
        object? method = CallArguments.Or(given[1], (object?)"common");
        if (method is not ("common" or "ceil" or "floor")) throw TemplateError.Argument("method must be common, ceil or floor");
        if (!PythonNumber.IsNumber(value)) throw TemplateError.Type($"type {PythonTypes.Name(value)} doesn't define __round__ method");
        interpreter.Budget.Step(RenderBudget.LargeIntegerSteps);
        if (method is "common") return value is double number ? PythonParsing.Round(number, precision) : RoundInteger(PythonNumber.ToBig(value), precision);
        object scale = PythonNumber.Power(10L, precision);
        object product = PythonNumber.Multiply(value, scale);
        if (PythonNumber.IsInteger(product)) return PythonNumber.Divide(product, scale);
        double scaled = PythonNumber.ToDouble(product);
        return PythonNumber.Divide(PythonNumber.Normalize(new BigInteger(method is "ceil" ? Math.Ceiling(scaled) : Math.Floor(scaled))), scale);
    }

    // Half goes to the even neighbour.
    private static object RoundInteger(BigInteger value, long precision)
    {
        if (precision >= 0) return PythonNumber.Normalize(value);
        if (precision < -PythonNumber.MaxDigits) return 0L;
        BigInteger unit = BigInteger.Pow(10, (int)-precision);
        BigInteger quotient = BigInteger.DivRem(BigInteger.Abs(value), unit, out BigInteger remainder);
        int half = (remainder * 2).CompareTo(unit);
        if (half > 0 || (half == 0 && !quotient.IsEven)) quotient++;
        return PythonNumber.Normalize(quotient * unit * value.Sign);
    }

    public static object? Sum(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_sum", 0, "attribute", "start");
        AttributePath path = new(given[0], interpreter.Budget);
        object? sum = given[1] == CallArguments.Missing ? 0L : given[1];
        if (PythonTypes.IsText(sum)) throw TemplateError.Type("sum() can't sum strings [use ''.join(seq) instead]");
        foreach (object? item in PythonTypes.Iterate(value)) sum = PythonOperators.Apply(BinaryOperator.Add, sum, path.Get(item, interpreter.Budget), interpreter.Budget);
        return sum;
    }
}
