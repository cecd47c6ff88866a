namespace FastGen.Models.Jinja;

/// <summary>The variable <c>loop</c>. It reads its iterable ahead only when asked for the length, the last or the next item.</summary>
internal sealed class LoopContext(object? iterable, IEnumerable<object?> elements, Func<object?, int, string>? recurse, int depth, RenderBudget budget)
{
    private static readonly object Nothing = new();

    private IEnumerator<object?> _elements = elements.GetEnumerator();
    private int? _length;
    private object? _after = Nothing;
    private object? _current = Nothing;
    private object? _before = Nothing;
    private PythonTuple? _lastChanged;

    /// <summary>Iteration, 1-based; 0 before the first.</summary>
    public int Index { get; private set; }

    public int Length
    {
        get
        {
            if (_length is int known) return known;
            if (iterable is not PythonIterator and not LoopContext && PythonTypes.Length(iterable) is int length) return (_length = length).Value;
            List<object?> rest = [];
            while (_elements.MoveNext())
            {
                budget.Items(1);
                rest.Add(_elements.Current);
            }
            _elements = ((IEnumerable<object?>)rest).GetEnumerator();
            return (_length = rest.Count + Index + (_after == Nothing ? 0 : 1)).Value;
        }
    }

    public bool MoveNext(out object? item)
    {
        item = Peek();
        _after = Nothing;
        if (item == Nothing) return false;
        Index++;
        _before = _current;
        _current = item;
        return true;
    }

    private object? Peek()
    {
        if (_after != Nothing) return _after;
        return _after = _elements.MoveNext() ? _elements.Current : Nothing;
    }

    /// <summary>A loop over <c>loop</c> itself goes on with its items, paired with it.</summary>
    public IEnumerable<object?> Rest()
    {
        while (MoveNext(out object? item)) yield return new PythonTuple([item, this]);
    }

    public bool TryGetAttribute(string name, out object? value)
    {
        value = name switch
        {
            "index" => (long)Index,
            "index0" => (long)(Index - 1),
            "revindex" => (long)(Length - Index + 1),
            "revindex0" => (long)(Length - Index),
            "first" => Index == 1,
            "last" => Peek() == Nothing,
            "length" => (long)Length,
            "depth" => (long)(depth + 1),
            "depth0" => (long)depth,
            "previtem" => Index == 1 ? Undefined.Hint("there is no previous item") : _before,
            "nextitem" => Peek() == Nothing ? Undefined.Hint("there is no next item") : Peek(),
            "cycle" => new NativeFunction("cycle", (_, arguments) => Cycle(arguments.Positional), "method"),
            "changed" => new NativeFunction("changed", (interpreter, arguments) => Changed(interpreter, arguments.Positional), "method"),
            _ => Nothing,
        };
        return value != Nothing;
    }

    private object? Cycle(IReadOnlyList<object?> items) => items.Count == 0 ? throw TemplateError.Type("no items for cycling given") : items[(Index - 1) % items.Count];

    private bool Changed(Interpreter interpreter, IReadOnlyList<object?> values)
    {
        PythonTuple given = new(values);
        if (_lastChanged is not null && PythonComparison.AreEqual(_lastChanged, given, interpreter.Budget)) return false;
        _lastChanged = given;
        return true;
    }

    public object? Recurse(CallArguments arguments)
    {
        object?[] given = arguments.Bind("loop", 1, "iterable");
        if (recurse is null) throw TemplateError.Type("The loop must have the 'recursive' marker to be called recursively.");
        return recurse(given[0], depth + 1);
    }
}
