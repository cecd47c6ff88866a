namespace FastGen.Models.Jinja;

/// <summary>Filters that order, and those that find the least, the greatest and the distinct.</summary>
internal static class SortingFilters
{
    public static object? Sort(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_sort", 0, "reverse", "case_sensitive", "attribute");
        Func<object?, object?> key = AttributePath.SortKey(given[2], !CallArguments.Flag(given[1], false), interpreter.Budget);
        return new PythonList(PythonSort.By(PythonTypes.ToList(value, interpreter.Budget), key, CallArguments.Flag(given[0], false), interpreter.Budget));
    }

    public static object? DictSort(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_dictsort", 0, "case_sensitive", "by", "reverse");
        bool ignoreCase = !CallArguments.Flag(given[0], false);
        int position = CallArguments.Or(given[1], (object?)"key") switch
        {
            "key" => 0,
            "value" => 1,
            _ => throw TemplateError.Argument("You can only sort by either \"key\" or \"value\""),
        };
        if (value is Undefined undefined) throw undefined.Error();
        PythonDict dict = value as PythonDict ?? throw TemplateError.Evaluation("AttributeError", $"'{PythonTypes.Name(value)}' object has no attribute 'items'");
        AttributePath key = new((long)position, interpreter.Budget, ignoreCase);
        List<PythonTuple> items = [.. dict.Items.Select(item => new PythonTuple([item.Key, item.Value]))];
        return new PythonList(PythonSort.By(items, item => key.Get(item, interpreter.Budget), CallArguments.Flag(given[2], false), interpreter.Budget));
    }

    public static object? Min(Interpreter interpreter, object? value, CallArguments arguments) => Extreme(interpreter, value, arguments, "<");

    public static object? Max(Interpreter interpreter, object? value, CallArguments arguments) => Extreme(interpreter, value, arguments, ">");

    private static object? Extreme(Interpreter interpreter, object? value, CallArguments arguments, string symbol)
    {
        object?[] given = arguments.Bind("_min_or_max", 0, "case_sensitive", "attribute");
        AttributePath path = new(given[1], interpreter.Budget, !CallArguments.Flag(given[0], false));
        object? best = Undefined.Hint("No aggregated item, sequence was empty.");
        object? bestKey = CallArguments.Missing;
        foreach (object? item in PythonTypes.Iterate(value))
        {
            object? key = path.Get(item, interpreter.Budget);
            if (bestKey != CallArguments.Missing)
            {
                int? order = PythonComparison.Compare(key, bestKey, symbol, interpreter.Budget);
                if (symbol == "<" ? order is not < 0 : order is not > 0) continue;
            }
            (best, bestKey) = (item, key);
        }
        return best;
    }

    public static object? Unique(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_unique", 0, "case_sensitive", "attribute");
        return new PythonIterator(UniqueItems(interpreter, value, new AttributePath(given[1], interpreter.Budget, !CallArguments.Flag(given[0], false))));
    }

    private static IEnumerable<object?> UniqueItems(Interpreter interpreter, object? value, AttributePath path)
    {
        PythonDict seen = new();
        foreach (object? item in PythonTypes.Iterate(value))
        {
            object? key = path.Get(item, interpreter.Budget);
            if (seen.Contains(key, interpreter.Budget)) continue;
            seen.Set(key, null, interpreter.Budget);
            yield return item;
        }
    }
}
