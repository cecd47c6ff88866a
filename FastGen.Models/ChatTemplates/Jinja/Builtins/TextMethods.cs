using System.Globalization;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>The methods of str. On markup they escape what they add, and give markup.</summary>
internal static class TextMethods
{
    private delegate object? Method(Interpreter interpreter, object self, string text, CallArguments arguments);

    private static readonly Dictionary<string, Method> Table = new()
    {
        ["capitalize"] = Mapped("capitalize", TextCase.Capitalize),
        ["casefold"] = Mapped("casefold", TextCase.Fold),
        ["lower"] = Mapped("lower", TextCase.Lower),
        ["upper"] = Mapped("upper", TextCase.Upper),
        ["title"] = Mapped("title", TextCase.Title),
        ["swapcase"] = Mapped("swapcase", TextCase.Swap),
        ["strip"] = Stripping("strip", left: true, right: true),
        ["lstrip"] = Stripping("lstrip", left: true, right: false),
        ["rstrip"] = Stripping("rstrip", left: false, right: true),
        ["split"] = Splitting("split", TextSplitting.AtSpaces, TextSplitting.At),
        ["rsplit"] = Splitting("rsplit", TextSplitting.AtSpacesFromEnd, TextSplitting.AtFromEnd),
        ["splitlines"] = SplitLines,
        ["partition"] = (interpreter, self, text, arguments) => Partition(interpreter, self, text, Text("partition", arguments), last: false),
        ["rpartition"] = (interpreter, self, text, arguments) => Partition(interpreter, self, text, Text("rpartition", arguments), last: true),
        ["replace"] = Replace,
        ["removeprefix"] = (_, self, text, arguments) => Text("removeprefix", arguments) is string prefix && text.StartsWith(prefix, StringComparison.Ordinal) ? Like(self, text[prefix.Length..]) : self,
        ["removesuffix"] = (_, self, text, arguments) => Text("removesuffix", arguments) is string suffix && text.EndsWith(suffix, StringComparison.Ordinal) ? Like(self, text[..^suffix.Length]) : self,
        ["join"] = Join,
        ["center"] = Padding("center"),
        ["ljust"] = Padding("ljust"),
        ["rjust"] = Padding("rjust"),
        ["zfill"] = ZeroFill,
        ["expandtabs"] = ExpandTabs,
        ["format"] = (interpreter, self, _, arguments) => BraceFormat.Format(interpreter, self, arguments.Positional, arguments.Keywords.ToDictionary(item => item.Key, item => item.Value)),
        ["format_map"] = FormatMap,
        ["find"] = (interpreter, _, text, arguments) => (long)TextSearch.Find("find", interpreter, text, arguments, last: false),
        ["rfind"] = (interpreter, _, text, arguments) => (long)TextSearch.Find("rfind", interpreter, text, arguments, last: true),
        ["index"] = (interpreter, _, text, arguments) => TextSearch.Index("index", interpreter, text, arguments, last: false),
        ["rindex"] = (interpreter, _, text, arguments) => TextSearch.Index("rindex", interpreter, text, arguments, last: true),
        ["count"] = (interpreter, _, text, arguments) => TextSearch.Count(interpreter, text, arguments),
        ["startswith"] = (interpreter, _, text, arguments) => TextSearch.Matches("startswith", interpreter, text, arguments, (window, affix) => window.StartsWith(affix, StringComparison.Ordinal)),
        ["endswith"] = (interpreter, _, text, arguments) => TextSearch.Matches("endswith", interpreter, text, arguments, (window, affix) => window.EndsWith(affix, StringComparison.Ordinal)),
        ["isalnum"] = Asks("isalnum", rune => Rune.IsLetter(rune) || IsNumeric(rune)),
        ["isalpha"] = Asks("isalpha", Rune.IsLetter),
        ["isdecimal"] = Asks("isdecimal", Rune.IsDigit),
        ["isdigit"] = Asks("isdigit", rune => Rune.IsDigit(rune) || CharUnicodeInfo.GetDigitValue(rune.ToString(), 0) >= 0),
        ["isnumeric"] = Asks("isnumeric", IsNumeric),
        ["isspace"] = Asks("isspace", rune => rune.IsBmp && PythonChar.IsSpace((char)rune.Value)),
        ["isascii"] = (_, _, text, _) => Ascii.IsValid(text),
        ["isprintable"] = (_, _, text, _) => text.EnumerateRunes().All(PythonChar.IsPrintable),
        ["islower"] = (_, _, text, _) => TextCase.IsAll(text, Rune.IsLower, Rune.IsUpper),
        ["isupper"] = (_, _, text, _) => TextCase.IsAll(text, Rune.IsUpper, Rune.IsLower),
        ["istitle"] = (_, _, text, _) => TextCase.IsTitle(text),
        ["isidentifier"] = (_, _, text, _) => text.Length > 0 && PythonChar.IsIdentifierStart(text) && Enumerable.Range(0, text.Length).All(i => char.IsLowSurrogate(text[i]) || PythonChar.IsIdentifierPart(text, i)),
    };

    public static bool TryBind(object self, string name, out object? method)
    {
        if (!Table.TryGetValue(name, out Method? found))
        {
            method = null;
            return false;
        }
        string text = PythonTypes.TextOf(self)!;
        method = new NativeFunction(name, (interpreter, arguments) =>
        {
            interpreter.Budget.Text(text.Length);
            object? result = found(interpreter, self, text, arguments);
            if (PythonTypes.TextOf(result) is string made) interpreter.Budget.Text(made.Length);
            return result;
        });
        return true;
    }

    /// <summary>A text of the kind of <paramref name="self"/>: str or markup.</summary>
    public static object Like(object self, string text) => self is Markup ? new Markup(text) : text;

    public static string RequireText(string function, object? value) =>
        PythonTypes.TextOf(value) ?? throw TemplateError.Type($"{function}() argument must be str, not {PythonTypes.Name(value)}");

    private static string Text(string function, CallArguments arguments) => RequireText(function, arguments.BindPositional(function, 1, 1)[0]);

    private static bool IsNumeric(Rune rune) => Rune.IsNumber(rune) || CharUnicodeInfo.GetNumericValue(rune.ToString(), 0) >= 0;

    private static Method Mapped(string name, Func<string, string> map) => (_, self, text, arguments) =>
    {
        arguments.BindPositional(name, 0, 0);
        return Like(self, map(text));
    };

    private static Method Asks(string name, Func<Rune, bool> predicate) => (_, _, text, arguments) =>
    {
        arguments.BindPositional(name, 0, 0);
        return text.Length > 0 && text.EnumerateRunes().All(predicate);
    };

    private static Method Stripping(string name, bool left, bool right) => (_, self, text, arguments) =>
    {
        object? characters = arguments.BindPositional(name, 0, 1)[0];
        if (characters is not null && characters != CallArguments.Missing && !PythonTypes.IsText(characters)) throw TemplateError.Type($"{name} arg must be None or str");
        return Like(self, TextSplitting.Strip(text, PythonTypes.TextOf(characters), left, right));
    };

    private static Method Splitting(string name, Func<string, long, List<string>> atSpaces, Func<string, string, long, List<string>> at) => (interpreter, self, text, arguments) =>
    {
        object?[] given = arguments.Bind(name, 0, "sep", "maxsplit");
        long limit = CallArguments.Integer(given[1], -1);
        string? separator = given[0] is null || given[0] == CallArguments.Missing ? null
            : PythonTypes.TextOf(given[0]) ?? throw TemplateError.Type($"must be str or None, not {PythonTypes.Name(given[0])}");
        interpreter.Budget.Search(text, separator ?? "");
        return ToList(interpreter, self, separator is null ? atSpaces(text, limit) : at(text, separator, limit));
    };

    private static PythonList ToList(Interpreter interpreter, object self, List<string> parts)
    {
        interpreter.Budget.Items(parts.Count);
        return new PythonList([.. parts.Select(part => Like(self, part))]);
    }

    private static PythonList SplitLines(Interpreter interpreter, object self, string text, CallArguments arguments)
    {
        bool keepEnds = CallArguments.Flag(arguments.Bind("splitlines", 0, "keepends")[0], false);
        return ToList(interpreter, self, TextSplitting.AtLineBreaks(text, keepEnds));
    }

    private static PythonTuple Partition(Interpreter interpreter, object self, string text, string separator, bool last)
    {
        if (separator.Length == 0) throw TemplateError.Value("empty separator");
        interpreter.Budget.Search(text, separator);
        int at = last ? text.LastIndexOf(separator, StringComparison.Ordinal) : text.IndexOf(separator, StringComparison.Ordinal);
        string[] parts = at >= 0 ? [text[..at], separator, text[(at + separator.Length)..]] : last ? ["", "", text] : [text, "", ""];
        return new PythonTuple([.. parts.Select(part => Like(self, part))]);
    }

    private static object? Replace(Interpreter interpreter, object self, string text, CallArguments arguments)
    {
        if (arguments.Keywords.Count > 0) throw TemplateError.Type("str.replace() takes no keyword arguments");
        object?[] given = arguments.BindPositional("replace", 2, 3);
        string old = RequireText("replace", given[0]);
        string @new = RequireText("replace", given[1]);
        if (self is Markup) @new = Markup.Escape(given[1], interpreter.Budget);
        return Like(self, TextSplitting.Replace(text, old, @new, CallArguments.Integer(given[2], -1), interpreter.Budget));
    }

    private static object? Join(Interpreter interpreter, object self, string text, CallArguments arguments)
    {
        object? iterable = arguments.BindPositional("join", 1, 1)[0];
        if (PythonTypes.TryIterate(iterable) is null) throw TemplateError.Type("can only join an iterable");
        List<object?> items = PythonTypes.ToList(iterable, interpreter.Budget);
        string[] parts = new string[items.Count];
        for (int i = 0; i < parts.Length; i++)
        {
            parts[i] = self is Markup ? Markup.Escape(items[i], interpreter.Budget)
                : PythonTypes.TextOf(items[i]) ?? throw TemplateError.Type($"sequence item {i}: expected str instance, {PythonTypes.Name(items[i])} found");
        }
        interpreter.Budget.Text(parts.Sum(part => (long)part.Length + text.Length));
        return Like(self, string.Join(text, parts));
    }

    private static Method Padding(string name) => (interpreter, self, text, arguments) =>
    {
        object?[] given = arguments.BindPositional(name, 1, 2);
        string fill = given[1] == CallArguments.Missing ? " " : RequireText(name, given[1]);
        if (CodePoints.Count(fill) != 1) throw TemplateError.Type("The fill character must be exactly one character long");
        if (self is Markup) fill = Markup.Escape(given[1] == CallArguments.Missing ? " " : given[1], interpreter.Budget);
        return Like(self, Pad(text, CallArguments.Integer(given[0], 0), fill, name, interpreter.Budget));
    };

    public static string Pad(string text, long width, string fill, string side, RenderBudget budget)
    {
        int length = CodePoints.Count(text);
        long missing = width - length;
        if (missing <= 0) return text;
        budget.Text(missing);

        // Python puts the odd one of a centred text to the left when the width is odd.
        long left = side == "ljust" ? 0 : side == "rjust" ? missing : missing / 2 + (missing & width & 1);
        return PythonOperators.Repeat(fill, left, budget) + text + PythonOperators.Repeat(fill, missing - left, budget);
    }

    private static object? ZeroFill(Interpreter interpreter, object self, string text, CallArguments arguments)
    {
        long width = CallArguments.Integer(arguments.BindPositional("zfill", 1, 1)[0], 0);
        int sign = text.Length > 0 && text[0] is '+' or '-' ? 1 : 0;
        return Like(self, text[..sign] + Pad(text[sign..], width - sign, "0", "rjust", interpreter.Budget));
    }

    private static object? ExpandTabs(Interpreter interpreter, object self, string text, CallArguments arguments)
    {
        long size = CallArguments.Integer(arguments.Bind("expandtabs", 0, "tabsize")[0], 8);
        StringBuilder expanded = new();
        long column = 0;
        foreach (char character in text)
        {
            long spaces = character != '\t' ? 0 : size <= 0 ? 0 : size - column % size;
            if (spaces > 0) interpreter.Budget.Grown(expanded.Length, expanded.Length + spaces);
            if (character == '\t') expanded.Append(' ', (int)spaces);
            else expanded.Append(character);
            column = character is '\n' or '\r' ? 0 : column + (character == '\t' ? spaces : 1);
        }
        return Like(self, expanded.ToString());
    }

    private static object? FormatMap(Interpreter interpreter, object self, string text, CallArguments arguments)
    {
        object? mapping = arguments.BindPositional("format_map", 1, 1)[0];
        PythonDict dict = mapping as PythonDict ?? throw TemplateError.Type($"'{PythonTypes.Name(mapping)}' object is not a mapping");
        interpreter.Budget.Items(dict.Count);
        foreach (object? key in dict.Keys) interpreter.Budget.Key(key);
        return BraceFormat.Format(interpreter, self, [], dict.Items.Where(item => PythonTypes.IsText(item.Key)).ToDictionary(item => PythonTypes.TextOf(item.Key)!, item => item.Value));
    }
}
