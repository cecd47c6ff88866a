using System.Numerics;

namespace FastGen.Models.Jinja;

/// <summary>The binary operators on values of any type.</summary>
internal static class PythonOperators
{
    public static object? Apply(BinaryOperator @operator, object? left, object? right, RenderBudget budget)
    {
        // A left string formats anything, an absent value among it.
        if (@operator == BinaryOperator.Modulo && PythonTypes.IsText(left)) return PercentFormat.Format(left!, right, budget);
        if (left is Undefined undefined || (undefined = (right as Undefined)!) is not null) throw undefined.Error();
        if (left is BigInteger || right is BigInteger) budget.Step(RenderBudget.LargeIntegerSteps);
        if (PythonNumber.IsNumber(left) && PythonNumber.IsNumber(right)) return Arithmetic(@operator, left, right);
        return @operator switch
        {
            BinaryOperator.Add => Add(left, right, budget),
            BinaryOperator.Multiply => Multiply(left, right, budget),
            _ => throw Unsupported(Symbol(@operator), left, right),
        };
    }

    private static object Arithmetic(BinaryOperator @operator, object? left, object? right) => @operator switch
    {
        BinaryOperator.Add => PythonNumber.Add(left, right),
        BinaryOperator.Subtract => PythonNumber.Subtract(left, right),
        BinaryOperator.Multiply => PythonNumber.Multiply(left, right),
        BinaryOperator.Divide => PythonNumber.Divide(left, right),
        BinaryOperator.FloorDivide => PythonNumber.FloorDivide(left, right),
        BinaryOperator.Modulo => PythonNumber.Modulo(left, right),
        _ => PythonNumber.Power(left, right),
    };

    private static object? Add(object? left, object? right, RenderBudget budget)
    {
        if (PythonTypes.IsText(left) && PythonTypes.IsText(right))
        {
            if (left is string a && right is string b)
            {
                budget.Text((long)a.Length + b.Length);
                return a + b;
            }
            return new Markup(budget.Made(Markup.Escape(left, budget) + Markup.Escape(right, budget)));
        }
        if (left is PythonList firstList && right is PythonList secondList) return new PythonList(Join(firstList.Items, secondList.Items, budget));
        if (left is PythonTuple firstTuple && right is PythonTuple secondTuple) return new PythonTuple(Join(firstTuple.Items, secondTuple.Items, budget));
        string type = PythonTypes.Name(left);
        if (left is string or PythonList or PythonTuple)
        {
            throw TemplateError.Type($"can only concatenate {type} (not \"{PythonTypes.Name(right)}\") to {type}");
        }
        throw Unsupported("+", left, right);
    }

    private static List<object?> Join(IReadOnlyList<object?> left, IReadOnlyList<object?> right, RenderBudget budget)
    {
        budget.Items((long)left.Count + right.Count);
        return [.. left, .. right];
    }

    private static object? Multiply(object? left, object? right, RenderBudget budget)
    {
        (object? sequence, object? count) = PythonNumber.IsInteger(left) ? (right, left) : (left, right);
        if (sequence is not (string or Markup or PythonList or PythonTuple)) throw Unsupported("*", left, right);
        if (!PythonNumber.IsInteger(count)) throw TemplateError.Type($"can't multiply sequence by non-int of type '{PythonTypes.Name(count)}'");
        long times = Math.Clamp(PythonNumber.ToLong(count), 0, int.MaxValue);
        return sequence switch
        {
            string text => Repeat(text, times, budget),
            Markup markup => new Markup(Repeat(markup.Text, times, budget)),
            PythonList list => new PythonList(Repeat(list.Items, times, budget)),
            _ => new PythonTuple(Repeat(((PythonTuple)sequence).Items, times, budget)),
        };
    }

    public static string Repeat(string text, long times, RenderBudget budget)
    {
        budget.Text(text.Length * times);
        if (text.Length == 0) return "";
        return text.Length == 1 ? new string(text[0], (int)times) : string.Concat(Enumerable.Repeat(text, (int)times));
    }

    private static List<object?> Repeat(IReadOnlyList<object?> items, long times, RenderBudget budget)
    {
        budget.Items(items.Count * times);
        List<object?> repeated = new((int)(items.Count * times));
        for (long i = 0; i < times && items.Count > 0; i++) repeated.AddRange(items);
        return repeated;
    }

    public static object? Negate(object? value) => value switch
    {
        Undefined undefined => throw undefined.Error(),
        _ when PythonNumber.IsNumber(value) => PythonNumber.Negate(value!),
        _ => throw TemplateError.Type($"bad operand type for unary -: '{PythonTypes.Name(value)}'"),
    };

    public static object? Plus(object? value) => value switch
    {
        Undefined undefined => throw undefined.Error(),
        bool flag => flag ? 1L : 0L,
        _ when PythonNumber.IsNumber(value) => value,
        _ => throw TemplateError.Type($"bad operand type for unary +: '{PythonTypes.Name(value)}'"),
    };

    private static TemplateError Unsupported(string symbol, object? left, object? right) =>
        TemplateError.Type($"unsupported operand type(s) for {symbol}: '{PythonTypes.Name(left)}' and '{PythonTypes.Name(right)}'");

    private static string Symbol(BinaryOperator @operator) => @operator switch
    {
        BinaryOperator.Add => "+",
        BinaryOperator.Subtract => "-",
        BinaryOperator.Multiply => "*",
        BinaryOperator.Divide => "/",
        BinaryOperator.FloorDivide => "//",
        BinaryOperator.Modulo => "%",
        _ => "** or pow()",
    };
}
