namespace FastGen.Models.Jinja;

/// <summary>The filters that call another filter or test for each element. They are generators: nothing runs before they are read.</summary>
internal static class SelectionFilters
{
    public static object? Map(Interpreter interpreter, object? value, CallArguments arguments) => new PythonIterator(MapItems(interpreter, value, arguments));

    private static IEnumerable<object?> MapItems(Interpreter interpreter, object? value, CallArguments arguments)
    {
        if (!PythonTypes.IsTrue(value)) yield break;
        Func<object?, object?> map = PrepareMap(interpreter, arguments);
        foreach (object? item in PythonTypes.Iterate(value)) yield return map(item);
    }

    private static Func<object?, object?> PrepareMap(Interpreter interpreter, CallArguments arguments)
    {
        if (arguments.Positional.Count == 0 && arguments.Keywords.Any(keyword => keyword.Key == "attribute"))
        {
            foreach ((string name, _) in arguments.Keywords)
            {
                if (name is not ("attribute" or "default")) throw TemplateError.Argument($"Unexpected keyword argument '{name}'");
            }
            AttributePath path = new(Keyword(arguments, "attribute"), interpreter.Budget, @default: Keyword(arguments, "default"));
            return item => path.Get(item, interpreter.Budget);
        }
        if (arguments.Positional.Count == 0) throw TemplateError.Argument("map requires a filter argument");
        string filter = RequireName(arguments.Positional[0], "filter");
        CallArguments rest = new([.. arguments.Positional.Skip(1)], arguments.Keywords);
        return item => interpreter.ApplyFilter(filter, item, rest);
    }

    private static object? Keyword(CallArguments arguments, string name) => arguments.Keywords.FirstOrDefault(keyword => keyword.Key == name).Value;

    public static Filter Select(bool keep, bool byAttribute) => (interpreter, value, arguments) => new PythonIterator(SelectItems(interpreter, value, arguments, keep, byAttribute));

    private static IEnumerable<object?> SelectItems(Interpreter interpreter, object? value, CallArguments arguments, bool keep, bool byAttribute)
    {
        if (!PythonTypes.IsTrue(value)) yield break;
        int testAt = byAttribute ? 1 : 0;
        if (arguments.Positional.Count < testAt) throw TemplateError.Argument("Missing parameter for attribute name");
        AttributePath path = new(byAttribute ? arguments.Positional[0] : null, interpreter.Budget);
        string? test = arguments.Positional.Count > testAt ? RequireName(arguments.Positional[testAt], "test") : null;
        CallArguments rest = new([.. arguments.Positional.Skip(testAt + 1)], arguments.Keywords);
        foreach (object? item in PythonTypes.Iterate(value))
        {
            object? subject = path.Get(item, interpreter.Budget);
            bool holds = test is null ? PythonTypes.IsTrue(subject) : interpreter.ApplyTest(test, subject, rest);
            if (holds == keep) yield return item;
        }
    }

    private static string RequireName(object? value, string kind) =>
        PythonTypes.TextOf(value) ?? throw TemplateError.Runtime($"No {kind} named {PythonTypes.Name(value)}.");
}
