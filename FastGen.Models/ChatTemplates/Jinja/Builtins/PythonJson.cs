using System.Globalization;
using System.Numerics;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>Python's <c>json.dumps</c>, which the filter <c>tojson</c> is in Hugging Face transformers.</summary>
internal sealed class PythonJson(RenderBudget budget, bool ensureAscii, string? indent, string itemSeparator, string keySeparator, bool sortKeys)
{
    private readonly StringBuilder _text = new();

    public static string Serialize(Interpreter interpreter, object? value, CallArguments arguments)
    {
        object?[] given = arguments.Bind("tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys");
        string? indent = given[1] == CallArguments.Missing || given[1] is null ? null
            : PythonTypes.TextOf(given[1]) ?? PythonOperators.Repeat(" ", Math.Max(0, CallArguments.Integer(given[1], 0)), interpreter.Budget);
        (string item, string key) = Separators(given[2], indent is not null);
        PythonJson json = new(interpreter.Budget, CallArguments.Flag(given[0], false), indent, item, key, CallArguments.Flag(given[3], false));
        json.Write(value, 0);
        return interpreter.Budget.Made(json._text.ToString());
    }

    private static (string Item, string Key) Separators(object? given, bool indented)
    {
        if (given == CallArguments.Missing || given is null) return (indented ? "," : ", ", ": ");
        string[] parts = [.. PythonTypes.Iterate(given).Take(3).Select(part => TextMethods.RequireText("tojson", part))];
        return parts.Length == 2 ? (parts[0], parts[1]) : throw TemplateError.Value($"not enough values to unpack (expected 2, got {parts.Length})");
    }

    private void Write(object? value, int depth)
    {
        budget.Step();
        RenderBudget.GuardStack();
        switch (value)
        {
            case string text: WriteString(text); break;
            case Markup markup: WriteString(markup.Text); break;
            case PythonDict dict: WriteDict(dict, depth); break;
            case PythonList list: WriteList(list.Items, depth); break;
            case PythonTuple tuple: WriteList(tuple.Items, depth); break;
            default:
                _text.Append(Scalar(value) ?? throw TemplateError.Type($"Object of type {PythonTypes.Name(value)} is not JSON serializable"));
                break;
        }
    }

    private static string? Scalar(object? value) => value switch
    {
        null => "null",
        bool flag => flag ? "true" : "false",
        long integer => integer.ToString(CultureInfo.InvariantCulture),
        BigInteger integer => integer.ToString(CultureInfo.InvariantCulture),
        double number when double.IsNaN(number) => "NaN",
        double number when double.IsInfinity(number) => number > 0 ? "Infinity" : "-Infinity",
        double number => PythonText.FloatRepr(number),
        _ => null,
    };

    private void WriteList(IReadOnlyList<object?> items, int depth)
    {
        if (items.Count == 0)
        {
            _text.Append("[]");
            return;
        }
        _text.Append('[');
        for (int i = 0; i < items.Count; i++)
        {
            if (i > 0) Separate(itemSeparator);
            NewLine(depth + 1);
            Write(items[i], depth + 1);
        }
        NewLine(depth);
        _text.Append(']');
    }

    private void WriteDict(PythonDict dict, int depth)
    {
        if (dict.Count == 0)
        {
            _text.Append("{}");
            return;
        }
        IEnumerable<KeyValuePair<object?, object?>> items = sortKeys ? PythonSort.By(dict.Items.ToList(), item => item.Key, reverse: false, budget) : dict.Items;
        _text.Append('{');
        bool first = true;
        foreach ((object? key, object? value) in items)
        {
            if (!first) Separate(itemSeparator);
            first = false;
            NewLine(depth + 1);
            WriteString(PythonTypes.TextOf(key) ?? Scalar(key) ?? throw TemplateError.Type($"keys must be str, int, float, bool or None, not {PythonTypes.Name(key)}"));
            Separate(keySeparator);
            Write(value, depth + 1);
        }
        NewLine(depth);
        _text.Append('}');
    }

    private void Separate(string separator)
    {
        budget.Grown(_text.Length, _text.Length + (long)separator.Length);
        _text.Append(separator);
    }

    private void NewLine(int depth)
    {
        if (indent is null) return;
        budget.Grown(_text.Length, _text.Length + 1 + (long)indent.Length * depth);
        _text.Append('\n');
        for (int i = 0; i < depth; i++) _text.Append(indent);
    }

    private void WriteString(string text)
    {
        budget.Grown(_text.Length, _text.Length + (long)text.Length);
        _text.Append('"');
        foreach (char character in text)
        {
            switch (character)
            {
                case '"': _text.Append("\\\""); break;
                case '\\': _text.Append("\\\\"); break;
                case '\n': _text.Append("\\n"); break;
                case '\r': _text.Append("\\r"); break;
                case '\t': _text.Append("\\t"); break;
                case '\b': _text.Append("\\b"); break;
                case '\f': _text.Append("\\f"); break;
                case < ' ': _text.Append(CultureInfo.InvariantCulture, $"\\u{(int)character:x4}"); break;
                case > '~' when ensureAscii: _text.Append(CultureInfo.InvariantCulture, $"\\u{(int)character:x4}"); break;
                default: _text.Append(character); break;
            }
        }
        _text.Append('"');
    }
}
