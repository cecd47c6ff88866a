namespace FastGen.Models.Jinja;

/// <summary>The methods of str that look for other strings, in a window given by code points.</summary>
internal static class TextSearch
{
    /// <summary>The position of the first or last occurrence, or -1.</summary>
    public static int Find(string function, Interpreter interpreter, string text, CallArguments arguments, bool last)
    {
        object?[] given = arguments.BindPositional(function, 1, 3);
        string needle = TextMethods.RequireText(function, given[0]);
        if (Window(text, given[1], given[2]) is not (string window, int offset)) return -1;
        interpreter.Budget.Search(window, needle);
        int at = last ? window.LastIndexOf(needle, StringComparison.Ordinal) : window.IndexOf(needle, StringComparison.Ordinal);
        return at < 0 ? -1 : offset + CodePoints.FromUnits(window, at);
    }

    public static object? Index(string function, Interpreter interpreter, string text, CallArguments arguments, bool last)
    {
        int at = Find(function, interpreter, text, arguments, last);
        return at >= 0 ? (long)at : throw TemplateError.Value("substring not found");
    }

    public static object? Count(Interpreter interpreter, string text, CallArguments arguments)
    {
        object?[] given = arguments.BindPositional("count", 1, 3);
        string needle = TextMethods.RequireText("count", given[0]);
        if (Window(text, given[1], given[2]) is not (string window, _)) return 0L;
        interpreter.Budget.Search(window, needle);
        return needle.Length == 0 ? CodePoints.Count(window) + 1L : TextSplitting.At(window, needle, -1).Count - 1L;
    }

    public static object? Matches(string function, Interpreter interpreter, string text, CallArguments arguments, Func<string, string, bool> matches)
    {
        object?[] given = arguments.BindPositional(function, 1, 3);
        IReadOnlyList<object?> affixes = given[0] is PythonTuple tuple ? tuple.Items : [given[0]];
        string? window = Window(text, given[1], given[2])?.Window;
        bool found = false;
        foreach (object? affix in affixes)
        {
            string wanted = PythonTypes.TextOf(affix) ?? throw TemplateError.Type($"{function} first arg must be str or a tuple of str, not {PythonTypes.Name(affix)}");
            interpreter.Budget.Text(wanted.Length);
            found = found || (window is not null && matches(window, wanted));
        }
        return found;
    }

    /// <summary>The text between two code points, and the first one; null where the start lies behind the end.</summary>
    private static (string Window, int Offset)? Window(string text, object? start, object? stop)
    {
        if (start == CallArguments.Missing && stop == CallArguments.Missing) return (text, 0);
        int length = CodePoints.Count(text);
        long from = start == CallArguments.Missing || start is null ? 0 : CallArguments.Integer(start, 0);
        long to = stop == CallArguments.Missing || stop is null ? length : CallArguments.Integer(stop, 0);
        if (from < 0) from = Math.Max(from + length, 0);
        if (to < 0) to = Math.Max(to + length, 0);
        to = Math.Min(to, length);
        if (from > to) return null;
        return (text[CodePoints.ToUnits(text, (int)from)..CodePoints.ToUnits(text, (int)to)], (int)from);
    }
}
