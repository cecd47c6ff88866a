using System.Globalization;

namespace FastGen.Models.Jinja;

/// <summary>The <c>attribute</c> argument of filters: an index, or names and indexes joined by dots.</summary>
internal sealed class AttributePath
{
    private readonly IReadOnlyList<object?> _parts;
    private readonly object? _default;
    private readonly bool _ignoreCase;

    /// <param name="attribute">An int, a dotted str, or None for the item itself.</param>
    /// <param name="budget">Pays for reading the path.</param>
    /// <param name="ignoreCase">Whether a str that is found is given in lower case.</param>
    /// <param name="default">Replaces what is undefined, unless it is None.</param>
    public AttributePath(object? attribute, RenderBudget budget, bool ignoreCase = false, object? @default = null)
    {
        if (PythonTypes.TextOf(attribute) is string text) budget.Step(1 + text.Length);
        _parts = attribute is null || attribute == CallArguments.Missing ? [] : PythonTypes.TextOf(attribute) is string path ? [.. path.Split('.').Select(Part)] : [attribute];
        _ignoreCase = ignoreCase;
        _default = @default == CallArguments.Missing ? null : @default;
    }

    private static object? Part(string part) =>
        part.Length > 0 && part.All(char.IsAsciiDigit) && long.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out long index) ? index : part;

    public object? Get(object? item, RenderBudget budget)
    {
        budget.Step();
        foreach (object? part in _parts)
        {
            item = Members.GetItem(item, part, budget);
            if (_default is not null && item is Undefined) item = _default;
        }
        return _ignoreCase && PythonTypes.TextOf(item) is string text ? budget.Made(TextCase.Lower(text)) : item;
    }

    /// <summary>The key of <c>sort</c>: one value for each of the paths that commas separate.</summary>
    public static Func<object?, object?> SortKey(object? attribute, bool ignoreCase, RenderBudget budget)
    {
        if (PythonTypes.TextOf(attribute) is string given) budget.Step(given.Length);
        AttributePath[] paths = PythonTypes.TextOf(attribute) is string text
            ? [.. text.Split(',').Select(path => new AttributePath(path, budget, ignoreCase))]
            : [new AttributePath(attribute, budget, ignoreCase)];
        budget.Step(paths.Length);
        return item => new PythonList([.. paths.Select(path => path.Get(item, budget))]);
    }
}
