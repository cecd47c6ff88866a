namespace FastGen.Models.Jinja;

/// <summary>A list. Templates cannot change one (their sandbox is immutable), so sharing is safe.</summary>
internal sealed class PythonList(IReadOnlyList<object?> items)
{
    public IReadOnlyList<object?> Items { get; } = items;
}

internal sealed class PythonTuple(IReadOnlyList<object?> items)
{
    public IReadOnlyList<object?> Items { get; } = items;

    /// <summary>Names of the elements of a named tuple, else null.</summary>
    public IReadOnlyList<string>? Names { get; init; }

    /// <summary>What hashing it costs, at most <see cref="int.MaxValue"/> steps: a tuple of shared tuples can have any number of leaves.</summary>
    public int HashSteps { get; } = (int)Math.Min(int.MaxValue, 1 + items.Sum(RenderBudget.HashSteps));

    /// <summary>Whether it can be a key. Known when it is made, since tuples may nest too deep for a walk.</summary>
    public bool IsHashable { get; } = items.All(PythonComparison.IsHashable);
}

/// <summary>
/// A dictionary in order of insertion whose keys compare as Python's do (<c>1 == 1.0 == True</c>). Whatever hashes a key of a template's
/// making pays for it.
/// </summary>
internal sealed class PythonDict
{
    private readonly OrderedDictionary<Key, object?> _items;

    public PythonDict() => _items = [];

    private PythonDict(PythonDict original) => _items = new OrderedDictionary<Key, object?>(original._items);

    public int Count => _items.Count;
    public IEnumerable<object?> Keys => _items.Keys.Select(key => key.Value);
    public IEnumerable<object?> Values => _items.Values;
    public IEnumerable<KeyValuePair<object?, object?>> Items => _items.Select(item => KeyValuePair.Create(item.Key.Value, item.Value));

    /// <summary>Sets an element of a dictionary that is not made by the template.</summary>
    public object? this[string key] { set => _items[new Key(key)] = value; }

    public void Set(object? key, object? value, RenderBudget budget)
    {
        budget.Key(key);
        _items[new Key(key)] = value;
    }

    public bool TryGet(object? key, RenderBudget budget, out object? value)
    {
        budget.Key(key);
        return _items.TryGetValue(new Key(key), out value);
    }

    public bool Contains(object? key, RenderBudget budget) => TryGet(key, budget, out _);

    public PythonDict Copy(RenderBudget budget)
    {
        budget.Items(Count);
        foreach (object? key in Keys) budget.Key(key);
        return new PythonDict(this);
    }

    /// <summary>A key that hashes and compares by Python's rules; None is a key like others.</summary>
    private readonly struct Key(object? value) : IEquatable<Key>
    {
        public object? Value { get; } = value;

        public bool Equals(Key other) => PythonComparison.KeysEqual(Value, other.Value);

        public override bool Equals(object? obj) => obj is Key other && Equals(other);

        public override int GetHashCode() => PythonComparison.KeyHash(Value);
    }
}

internal enum DictPart { Keys, Values, Items }

/// <summary>What <c>keys()</c>, <c>values()</c> and <c>items()</c> give: iterable and sized, without index.</summary>
internal sealed class DictView(PythonDict dict, DictPart part)
{
    public PythonDict Dict { get; } = dict;
    public DictPart Part { get; } = part;

    public IEnumerable<object?> Elements => Part switch
    {
        DictPart.Keys => Dict.Keys,
        DictPart.Values => Dict.Values,
        _ => Dict.Items.Select(item => new PythonTuple([item.Key, item.Value])),
    };
}

/// <summary>An arithmetic progression of at most <see cref="MaxLength"/> elements, the sandbox's limit.</summary>
internal sealed class PythonRange
{
    public const int MaxLength = 100_000;

    public PythonRange(long start, long stop, long step)
    {
        if (step == 0) throw TemplateError.Value("range() arg 3 must not be zero");
        Int128 length = step > 0 ? ((Int128)stop - start + step - 1) / step : ((Int128)start - stop - step - 1) / -(Int128)step;
        if (length > MaxLength)
        {
            throw TemplateError.Evaluation("OverflowError", $"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({MaxLength}).");
        }
        (Start, Stop, Step) = (start, stop, step);
        Length = (int)Int128.Max(length, 0);
    }

    public long Start { get; }
    public long Stop { get; }
    public long Step { get; }
    public int Length { get; }

    public IEnumerable<object?> Elements => Enumerable.Range(0, Length).Select(i => (object?)(Start + i * Step));
}

/// <summary>A generator or other one-shot iterator: no length, no index, and what was read is gone.</summary>
internal sealed class PythonIterator(IEnumerable<object?> elements, string typeName = "generator")
{
    private readonly IEnumerator<object?> _elements = elements.GetEnumerator();

    public string TypeName { get; } = typeName;

    public IEnumerable<object?> Rest()
    {
        while (true)
        {
            // It may read from another iterator, and that from a third.
            RenderBudget.GuardStack();
            if (!_elements.MoveNext()) yield break;
            yield return _elements.Current;
        }
    }
}

/// <summary>The only object whose attributes a template can set: <c>{% set ns.x = 1 %}</c>.</summary>
internal sealed class JinjaNamespace
{
    public PythonDict Attributes { get; } = new();
}
