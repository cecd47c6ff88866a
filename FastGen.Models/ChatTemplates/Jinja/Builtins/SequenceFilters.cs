namespace FastGen.Models.Jinja;

/// <summary>Filters on whole collections.</summary>
internal static class SequenceFilters
{
    public static object? Attribute(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object? given = arguments.Bind("do_attr", 1, "name")[0];
        string name = TextMethods.RequireText("attr", given);
        return Members.TryGetAttribute(value, name, interpreter.Budget, out object? attribute) ? attribute : Undefined.Member(value, name, interpreter.Budget);
    }

    public static object? Length(Interpreter interpreter, object? value, CallArguments arguments)
    {
        if (PythonTypes.TextOf(value) is string text) interpreter.Budget.Text(text.Length);
        return (long)(PythonTypes.Length(value) ?? throw TemplateError.Type($"object of type '{PythonTypes.Name(value)}' has no len()"));
    }

    public static object? Default(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_default", 0, "default_value", "boolean");
        bool missing = value is Undefined || (CallArguments.Flag(given[1], false) && !PythonTypes.IsTrue(value));
        return missing ? CallArguments.Or<object?>(given[0], "") : value;
    }

    public static object? First(Interpreter interpreter, object? value, CallArguments arguments)
    {
        foreach (object? item in PythonTypes.Iterate(value)) return item;
        return Undefined.Hint("No first item, sequence was empty.");
    }

    public static object? Last(Interpreter interpreter, object? value, CallArguments arguments)
    {
        List<object?> items = Reversible(value, interpreter.Budget) ?? throw TemplateError.Type($"'{PythonTypes.Name(value)}' object is not reversible");
        return items.Count > 0 ? items[^1] : Undefined.Hint("No last item, sequence was empty.");
    }

    public static object? Reverse(Interpreter interpreter, object? value, CallArguments arguments)
    {
        if (PythonTypes.TextOf(value) is string text) return TextMethods.Like(value!, interpreter.Budget.Made(CodePoints.Reverse(text)));
        if (PythonTypes.TryIterate(value) is null) throw TemplateError.Argument("argument must be iterable");
        bool reversible = Reversible(value, interpreter.Budget) is not null;
        List<object?> items = PythonTypes.ToList(value, interpreter.Budget);
        items.Reverse();
        return reversible ? new PythonIterator(items, value is PythonList ? "list_reverseiterator" : "reversed") : new PythonList(items);
    }

    private static List<object?>? Reversible(object? value, RenderBudget budget) => value switch
    {
        PythonIterator or LoopContext => null,
        _ => PythonTypes.TryIterate(value) is null ? null : PythonTypes.ToList(value, budget),
    };

    public static object? List(Interpreter interpreter, object? value, CallArguments arguments) => new PythonList(PythonTypes.ToList(value, interpreter.Budget));

    public static object? Items(Interpreter interpreter, object? value, CallArguments arguments) => new PythonIterator(ItemPairs(value));

    private static IEnumerable<object?> ItemPairs(object? value)
    {
        if (value is Undefined) yield break;
        if (value is not PythonDict dict) throw TemplateError.Type("Can only get item pairs from a mapping.");
        foreach ((object? key, object? item) in dict.Items) yield return new PythonTuple([key, item]);
    }

    public static object? Join(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_join", 0, "d", "attribute");
        string separator = given[0] == CallArguments.Missing ? "" : PythonText.Str(given[0], interpreter.Budget);
        AttributePath path = new(given[1], interpreter.Budget);
        List<string> parts = [];
        long length = 0;
        foreach (object? item in PythonTypes.Iterate(value))
        {
            string part = PythonText.Str(path.Get(item, interpreter.Budget), interpreter.Budget);
            length += part.Length + separator.Length;
            interpreter.Budget.Text(part.Length);
            if (length > RenderBudget.MaxTextLength) interpreter.Budget.Text(length);
            parts.Add(part);
        }
        return interpreter.Budget.Made(string.Join(separator, parts));
    }
}
