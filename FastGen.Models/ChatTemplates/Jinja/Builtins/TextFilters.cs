using System.Net;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>Filters on text.</summary>
internal static class TextFilters
{
    /// <summary>The value as text; markup stays markup.</summary>
    public static object SoftText(object? value, RenderBudget budget) => value is Markup ? value : PythonText.Str(value, budget);

    /// <summary>A filter that is a method of str, on the value as text.</summary>
    public static Filter Method(string name) => (interpreter, value, arguments) =>
    {
        TextMethods.TryBind(SoftText(value, interpreter.Budget), name, out object? method);
        if (name == "strip") arguments = new CallArguments([arguments.Bind("do_trim", 0, "chars")[0] is var chars && chars == CallArguments.Missing ? null : chars], []);
        return ((NativeFunction)method!).Call(interpreter, arguments);
    };

    public static object? Center(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object self = SoftText(value, interpreter.Budget);
        long width = CallArguments.Integer(arguments.Bind("do_center", 0, "width")[0], 80);
        return TextMethods.Like(self, TextMethods.Pad(PythonTypes.TextOf(self)!, width, " ", "center", interpreter.Budget));
    }

    public static object? Escape(Interpreter interpreter, object? value, CallArguments arguments) => new Markup(Markup.Escape(value, interpreter.Budget));

    public static object? ForceEscape(Interpreter interpreter, object? value, CallArguments arguments) =>
        new Markup(interpreter.Budget.Made(Markup.Escape(PythonText.Str(value, interpreter.Budget))));

    public static object? Format(Interpreter interpreter, object? value, CallArguments arguments)
    {
        if (arguments.Positional.Count > 0 && arguments.Keywords.Count > 0) throw TemplateError.Argument("can't handle positional and keyword arguments at the same time");
        object? operand = new PythonTuple(arguments.Positional);
        if (arguments.Keywords.Count > 0)
        {
            PythonDict named = new();
            foreach ((string name, object? item) in arguments.Keywords) named.Set(name, item, interpreter.Budget);
            operand = named;
        }
        return PercentFormat.Format(SoftText(value, interpreter.Budget), operand, interpreter.Budget);
    }

    public static object? Replace(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_replace", 2, "old", "new", "count");
        string text = PythonText.Str(value, interpreter.Budget);
        long limit = given[2] is null ? -1 : CallArguments.Integer(given[2], -1);
        return TextSplitting.Replace(text, PythonText.Str(given[0], interpreter.Budget), PythonText.Str(given[1], interpreter.Budget), limit, interpreter.Budget);
    }

    public static object? Title(Interpreter interpreter, object? value, CallArguments arguments)
    {
        string text = interpreter.Budget.Made(PythonText.Str(value, interpreter.Budget));
        StringBuilder title = new(text.Length);
        for (int start = 0; start < text.Length;)
        {
            int first = char.IsSurrogatePair(text, start) ? 2 : 1;
            int end = start + first;
            if (!SeparatesWords(text[start]))
            {
                while (end < text.Length && !SeparatesWords(text[end])) end++;
            }
            title.Append(TextCase.Upper(text.Substring(start, first))).Append(TextCase.Lower(text[(start + first)..end]));
            start = end;
        }
        return title.ToString();
    }

    private static bool SeparatesWords(char character) => character is '-' or '(' or '{' or '[' or '<' || PythonChar.IsSpace(character);

    public static object? Indent(Interpreter interpreter, object? value, CallArguments arguments)
    {
        RenderBudget budget = interpreter.Budget;
        object?[] given = arguments.Bind("do_indent", 0, "width", "first", "blank");
        if (value is Undefined undefined) throw undefined.Error();
        string text = PythonTypes.TextOf(value) ?? throw TemplateError.Type($"unsupported operand type(s) for +=: '{PythonTypes.Name(value)}' and 'str'");
        string indent = PythonTypes.TextOf(given[0]) ?? PythonOperators.Repeat(" ", Math.Max(0, CallArguments.Integer(given[0], 4)), budget);
        bool first = CallArguments.Flag(given[1], false), blank = CallArguments.Flag(given[2], false);
        List<string> lines = TextSplitting.AtLineBreaks(text + "\n", keepEnds: false);
        budget.Text(text.Length + (long)lines.Count * (indent.Length + 1));
        string indented = string.Join('\n', lines.Select((line, i) => i > 0 && (blank || line.Length > 0) ? indent + line : line));
        return TextMethods.Like(value!, first ? indent + indented : indented);
    }

    public static object? Truncate(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("do_truncate", 0, "length", "killwords", "end", "leeway");
        if (value is Undefined) return value;
        int count = PythonTypes.Length(value) ?? throw TemplateError.Type($"object of type '{PythonTypes.Name(value)}' has no len()");
        long length = CallArguments.Integer(given[0], 255);
        string end = given[2] == CallArguments.Missing ? "..." : TextMethods.RequireText("truncate", given[2]);
        long leeway = given[3] is null ? 5 : CallArguments.Integer(given[3], 5);
        if (length < end.Length) throw TemplateError.Evaluation("AssertionError", $"expected length >= {end.Length}, got {length}");
        if (leeway < 0) throw TemplateError.Evaluation("AssertionError", $"expected leeway >= 0, got {leeway}");
        if (PythonTypes.TextOf(value) is string whole) interpreter.Budget.Text(whole.Length);
        if (count <= length + leeway) return value;
        string text = PythonTypes.TextOf(value) ?? throw TemplateError.Type($"can only concatenate {PythonTypes.Name(value)} (not \"str\") to {PythonTypes.Name(value)}");
        string kept = text[..CodePoints.ToUnits(text, (int)(length - CodePoints.Count(end)))];
        if (!CallArguments.Flag(given[1], false)) kept = TextSplitting.AtFromEnd(kept, " ", 1)[0];
        return TextMethods.Like(value!, kept + (value is Markup ? Markup.Escape(end) : end));
    }

    public static object? StripTags(Interpreter interpreter, object? value, CallArguments arguments)
    {
        string text = interpreter.Budget.Made(PythonText.Str(value, interpreter.Budget));
        text = Cut(Cut(text, "<!--", "-->"), "<", ">");
        return WebUtility.HtmlDecode(string.Join(' ', TextSplitting.AtSpaces(text, -1)));
    }

    private static string Cut(string text, string open, string close)
    {
        StringBuilder kept = new(text.Length);
        int position = 0;
        while (true)
        {
            int start = text.IndexOf(open, position, StringComparison.Ordinal);
            int end = start < 0 ? -1 : text.IndexOf(close, start, StringComparison.Ordinal);
            if (end < 0) return kept.Append(text, position, text.Length - position).ToString();
            kept.Append(text, position, start - position);
            position = end + close.Length;
        }
    }

    public static object? WordCount(Interpreter interpreter, object? value, CallArguments arguments)
    {
        string text = interpreter.Budget.Made(PythonText.Str(value, interpreter.Budget));
        long count = 0;
        bool inWord = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool word = Rune.IsLetterOrDigit(rune) || Rune.IsNumber(rune) || rune.Value == '_';
            if (word && !inWord) count++;
            inWord = word;
        }
        return count;
    }

    public static object? UrlEncode(Interpreter interpreter, object? value, CallArguments arguments)
    {
        string Quote(object? part, bool query)
        {
            string quoted = Uri.EscapeDataString(PythonText.Str(part, interpreter.Budget));
            return interpreter.Budget.Made(query ? quoted.Replace("%20", "+", StringComparison.Ordinal) : quoted.Replace("%2F", "/", StringComparison.Ordinal));
        }
        if (PythonTypes.IsText(value) || PythonTypes.TryIterate(value) is null) return Quote(value, query: false);
        IEnumerable<object?> pairs = value is PythonDict dict ? new DictView(dict, DictPart.Items).Elements : PythonTypes.Iterate(value);
        List<string> parts = [];
        foreach (object? pair in pairs)
        {
            List<object?> items = PythonTypes.ToList(pair, interpreter.Budget);
            if (items.Count != 2) throw TemplateError.Value($"{(items.Count < 2 ? "not enough" : "too many")} values to unpack (expected 2{(items.Count < 2 ? $", got {items.Count}" : "")})");
            parts.Add($"{Quote(items[0], query: true)}={Quote(items[1], query: true)}");
        }
        return interpreter.Budget.Made(string.Join('&', parts));
    }
}
