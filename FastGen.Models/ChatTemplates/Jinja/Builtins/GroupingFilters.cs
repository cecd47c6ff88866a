namespace FastGen.Models.Jinja;

/// <summary>Filters that cut a collection into several.</summary>
internal static class GroupingFilters
{
    public static object? GroupBy(Interpreter interpreter, object? value, CallArguments arguments)
    {
        RenderBudget budget = interpreter.Budget;
        object?[] given = arguments.Bind("do_groupby", 1, "attribute", "default", "case_sensitive");
        bool ignoreCase = !CallArguments.Flag(given[2], false);
        AttributePath key = new(given[0], budget, ignoreCase, given[1]);
        AttributePath shown = new(given[0], budget, ignoreCase: false, given[1]);
        List<(object? Key, List<object?> Items)> groups = [];
        foreach (object? item in PythonSort.By(PythonTypes.ToList(value, budget), item => key.Get(item, budget), reverse: false, budget))
        {
            object? itemKey = key.Get(item, budget);
            if (groups.Count == 0 || !PythonComparison.AreEqual(groups[^1].Key, itemKey, budget)) groups.Add((itemKey, []));
            groups[^1].Items.Add(item);
        }
        return new PythonList([.. groups.Select(group => new PythonTuple([shown.Get(group.Items[0], budget), new PythonList(group.Items)]) { Names = ["grouper", "list"] })]);
    }

    public static object? Batch(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_batch", 1, "linecount", "fill_with");
        return new PythonIterator(Batches(value, CallArguments.Integer(given[0], 0), given[1] == CallArguments.Missing ? null : given[1], interpreter.Budget));
    }

    private static IEnumerable<object?> Batches(object? value, long size, object? fill, RenderBudget budget)
    {
        List<object?> batch = [];
        foreach (object? item in PythonTypes.Iterate(value))
        {
            budget.Step();
            if (batch.Count == size)
            {
                yield return new PythonList(batch);
                batch = [];
            }
            batch.Add(item);
        }
        if (batch.Count == 0) yield break;
        if (fill is not null && batch.Count < size)
        {
            budget.Items(size);
            batch.AddRange(Enumerable.Repeat(fill, (int)(size - batch.Count)));
        }
        yield return new PythonList(batch);
    }

    public static object? Slice(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_slice", 1, "slices", "fill_with");
        return new PythonIterator(Slices(value, CallArguments.Integer(given[0], 0), given[1] == CallArguments.Missing ? null : given[1], interpreter.Budget));
    }

    private static IEnumerable<object?> Slices(object? value, long count, object? fill, RenderBudget budget)
    {
        List<object?> items = PythonTypes.ToList(value, budget);
        if (count == 0) throw TemplateError.Evaluation("ZeroDivisionError", "integer division or modulo by zero");
        long size = items.Count / count, longer = items.Count % count, position = 0;
        for (long slice = 0; slice < count; slice++)
        {
            budget.Step();
            long end = position + size + (slice < longer ? 1 : 0);
            List<object?> part = items.GetRange((int)position, (int)(end - position));
            if (fill is not null && slice >= longer) part.Add(fill);
            position = end;
            yield return new PythonList(part);
        }
    }
}
