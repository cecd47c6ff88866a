using System.Numerics;

namespace FastGen.Models.Jinja;

/// <summary>Equality, order, membership and hashing by Python's rules.</summary>
internal static class PythonComparison
{
    public static bool AreEqual(object? left, object? right, RenderBudget budget)
    {
        if (ReferenceEquals(left, right)) return left is not double number || !double.IsNaN(number);
        if (left is null || right is null) return false;
        if (PythonNumber.IsNumber(left)) return PythonNumber.IsNumber(right) && PythonNumber.Compare(left, right) == 0;
        if (PythonTypes.TextOf(left) is string text)
        {
            budget.Step(text.Length / 128);
            return PythonTypes.TextOf(right) is string other && string.Equals(text, other, StringComparison.Ordinal);
        }
        budget.Step();
        RenderBudget.GuardStack();
        return (left, right) switch
        {
            (PythonList a, PythonList b) => ItemsEqual(a.Items, b.Items, budget),
            (PythonTuple a, PythonTuple b) => ItemsEqual(a.Items, b.Items, budget),
            (PythonDict a, PythonDict b) => DictsEqual(a, b, budget),
            (PythonRange a, PythonRange b) => a.Length == b.Length && (a.Length == 0 || (a.Start == b.Start && (a.Length == 1 || a.Step == b.Step))),
            (DictView { Part: not DictPart.Values } a, DictView { Part: not DictPart.Values } b) =>
                a.Dict.Count == b.Dict.Count && a.Elements.All(item => Contains(b, item, budget)),
            (Undefined, Undefined) => true,
            _ => false,
        };
    }

    private static bool ItemsEqual(IReadOnlyList<object?> left, IReadOnlyList<object?> right, RenderBudget budget)
    {
        if (left.Count != right.Count) return false;
        for (int i = 0; i < left.Count; i++)
        {
            budget.Step();
            if (!AreEqual(left[i], right[i], budget)) return false;
        }
        return true;
    }

    private static bool DictsEqual(PythonDict left, PythonDict right, RenderBudget budget)
    {
        if (left.Count != right.Count) return false;
        return left.Items.All(item => right.TryGet(item.Key, budget, out object? other) && AreEqual(item.Value, other, budget));
    }

    /// <summary>The order of two values, or null where neither is less (NaN). <paramref name="symbol"/> is for the error.</summary>
    public static int? Compare(object? left, object? right, string symbol, RenderBudget budget)
    {
        budget.Step();
        RenderBudget.GuardStack();
        if (left is Undefined undefined || (undefined = (right as Undefined)!) is not null) throw undefined.Error();
        if (PythonNumber.IsNumber(left) && PythonNumber.IsNumber(right)) return PythonNumber.Compare(left, right);
        if (PythonTypes.TextOf(left) is string text && PythonTypes.TextOf(right) is string other)
        {
            budget.Text(Math.Min(text.Length, other.Length));
            return CodePoints.Compare(text, other);
        }
        return (left, right) switch
        {
            (PythonList a, PythonList b) => CompareItems(a.Items, b.Items, symbol, budget),
            (PythonTuple a, PythonTuple b) => CompareItems(a.Items, b.Items, symbol, budget),
            _ => throw TemplateError.Type($"'{symbol}' not supported between instances of '{PythonTypes.Name(left)}' and '{PythonTypes.Name(right)}'"),
        };
    }

    private static int? CompareItems(IReadOnlyList<object?> left, IReadOnlyList<object?> right, string symbol, RenderBudget budget)
    {
        for (int i = 0; i < Math.Min(left.Count, right.Count); i++)
        {
            if (!AreEqual(left[i], right[i], budget)) return Compare(left[i], right[i], symbol, budget);
        }
        return left.Count.CompareTo(right.Count);
    }

    public static bool Contains(object? container, object? item, RenderBudget budget)
    {
        if (PythonTypes.TextOf(container) is string text)
        {
            string needle = PythonTypes.TextOf(item) ?? throw TemplateError.Type($"'in <string>' requires string as left operand, not {PythonTypes.Name(item)}");
            budget.Search(text, needle);
            return text.Contains(needle, StringComparison.Ordinal);
        }
        switch (container)
        {
            case PythonDict dict: return dict.Contains(item, budget);
            case DictView { Part: DictPart.Keys } keys: return keys.Dict.Contains(item, budget);
            case DictView { Part: DictPart.Items } pairs:
                return item is PythonTuple { Items: [var key, var value] } && pairs.Dict.TryGet(key, budget, out object? other) && AreEqual(other, value, budget);
        }
        IEnumerable<object?> elements = PythonTypes.TryIterate(container) ?? throw TemplateError.Type($"argument of type '{PythonTypes.Name(container)}' is not iterable");
        foreach (object? element in elements)
        {
            budget.Step();
            if (AreEqual(element, item, budget)) return true;
        }
        return false;
    }

    public static bool IsHashable(object? key) => key switch
    {
        PythonList or PythonDict or PythonSlice or DictView { Part: not DictPart.Values } => false,
        PythonTuple tuple => tuple.IsHashable,
        _ => true,
    };

    public static bool KeysEqual(object? left, object? right)
    {
        if (left is string a && right is string b) return string.Equals(a, b, StringComparison.Ordinal);
        return AreEqual(left, right, new RenderBudget());
    }

    public static int KeyHash(object? key)
    {
        switch (key)
        {
            case null or Undefined: return 0;
            case string text: return text.GetHashCode(StringComparison.Ordinal);
            case Markup markup: return markup.Text.GetHashCode(StringComparison.Ordinal);
            case bool or long or BigInteger: return HashCode.Combine(PythonNumber.ToBig(key));
            case double number: return number == Math.Floor(number) && double.IsFinite(number) ? HashCode.Combine(new BigInteger(number)) : HashCode.Combine(number);
            case PythonTuple tuple:
                RenderBudget.GuardStack();
                HashCode hash = default;
                foreach (object? item in tuple.Items) hash.Add(KeyHash(item));
                return hash.ToHashCode();
            case PythonRange range: return HashCode.Combine(range.Length, range.Length > 0 ? range.Start : 0, range.Length > 1 ? range.Step : 0);
            case PythonList or PythonDict or PythonSlice or DictView { Part: not DictPart.Values }:
                throw TemplateError.Type($"unhashable type: '{PythonTypes.Name(key)}'");
            default: return key.GetHashCode();
        }
    }
}
