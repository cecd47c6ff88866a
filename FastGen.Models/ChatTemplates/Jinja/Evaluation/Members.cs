namespace FastGen.Models.Jinja;

/// <summary>
/// <c>x.name</c> and <c>x[key]</c>: the dot prefers a method or attribute to a key, the bracket a key; what is neither is undefined.
/// Methods that would change a list or a dictionary, and Python's internals, are refused when they are used.
/// </summary>
internal static class Members
{
    private static readonly HashSet<string> ListChanges = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];
    private static readonly HashSet<string> DictChanges = ["clear", "pop", "popitem", "setdefault", "update"];
    private static readonly HashSet<string> Internals =
    [
        "__class__", "__doc__", "__init__", "__new__", "__str__", "__repr__", "__len__", "__eq__", "__ne__", "__hash__", "__dir__", "__getattribute__", "__setattr__",
        "__delattr__", "__format__", "__sizeof__", "__reduce__", "__reduce_ex__", "__init_subclass__", "__subclasshook__", "__iter__", "__getitem__", "__contains__",
    ];

    public static object? GetAttribute(object? target, string name, RenderBudget budget)
    {
        if (TryGetAttribute(target, name, budget, out object? value) || PythonIndexing.TryGetItem(target, name, budget, out value)) return value;
        return Undefined.Member(target, name, budget);
    }

    public static object? GetItem(object? target, object? key, RenderBudget budget)
    {
        if (PythonIndexing.TryGetItem(target, key, budget, out object? value)) return value;
        if (PythonTypes.TextOf(key) is string name && TryGetAttribute(target, name, budget, out value)) return value;
        return Undefined.Member(target, key, budget);
    }

    /// <summary>The attribute alone, without keys: what the filter <c>attr</c> sees.</summary>
    public static bool TryGetAttribute(object? target, string name, RenderBudget budget, out object? value)
    {
        value = null;
        if (target is Undefined undefined) throw undefined.Error();
        if (IsUnsafe(target, name))
        {
            value = Undefined.Unsafe(target, name);
            return true;
        }
        switch (target)
        {
            case JinjaNamespace @namespace: return @namespace.Attributes.TryGet(name, budget, out value);
            case LoopContext loop: return loop.TryGetAttribute(name, out value);
            case string or Markup: return TextMethods.TryBind(target, name, out value);
            case PythonTuple { Names: not null } tuple when tuple.Names.ToList().IndexOf(name) is int index and >= 0:
                value = tuple.Items[index];
                return true;
            case Macro macro: return macro.TryGetAttribute(name, out value);
            case Cycler cycler: return cycler.TryGetAttribute(name, out value);
            default: return CollectionMethods.TryBind(target, name, out value);
        }
    }

    private static bool IsUnsafe(object? target, string name) =>
        Internals.Contains(name) || (target is PythonList && ListChanges.Contains(name)) || (target is PythonDict && DictChanges.Contains(name));
}
