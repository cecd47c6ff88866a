namespace FastGen.Models.Jinja;

/// <summary>The functions that every template can call.</summary>
internal static class Globals
{
    /// <summary>The globals of Jinja's sandbox, and <c>raise_exception</c> and <c>strftime_now</c> of Hugging Face transformers.</summary>
    public static Dictionary<string, object?> Create(TimeProvider timeProvider) => new()
    {
        ["range"] = new NativeFunction("range", Range, "type"),
        ["dict"] = new NativeFunction("dict", (interpreter, arguments) => CreateDict(interpreter, arguments, "dict"), "type"),
        ["namespace"] = new NativeFunction("namespace", CreateNamespace, "type"),
        ["cycler"] = new NativeFunction("cycler", (_, arguments) => new Cycler(arguments.Positional), "type"),
        ["joiner"] = new NativeFunction("joiner", (interpreter, arguments) => CreateJoiner(interpreter, arguments), "type"),
        ["raise_exception"] = new NativeFunction("raise_exception", RaiseException, "function"),
        ["strftime_now"] = new NativeFunction("strftime_now", (interpreter, arguments) => FormatNow(timeProvider, interpreter, arguments), "function"),
    };

    private static PythonRange Range(Interpreter interpreter, CallArguments arguments)
    {
        object?[] given = arguments.BindPositional("range", 1, 3);
        long first = CallArguments.Integer(given[0], 0);
        if (given[1] == CallArguments.Missing) return new PythonRange(0, first, 1);
        return new PythonRange(first, CallArguments.Integer(given[1], 0), CallArguments.Integer(given[2], 1));
    }

    private static PythonDict CreateDict(Interpreter interpreter, CallArguments arguments, string function)
    {
        if (arguments.Positional.Count > 1) throw TemplateError.Type($"{function} expected at most 1 argument, got {arguments.Positional.Count}");
        PythonDict dict = new();
        if (arguments.Positional.Count == 1) Fill(dict, arguments.Positional[0], interpreter.Budget);
        foreach ((string name, object? value) in arguments.Keywords) dict.Set(name, value, interpreter.Budget);
        return dict;
    }

    private static void Fill(PythonDict dict, object? source, RenderBudget budget)
    {
        if (source is PythonDict original)
        {
            budget.Items(original.Count);
            foreach ((object? key, object? value) in original.Items) dict.Set(key, value, budget);
            return;
        }
        foreach (object? item in PythonTypes.ToList(source, budget))
        {
            List<object?> pair = PythonTypes.TryIterate(item) is null
                ? throw TemplateError.Type("cannot convert dictionary update sequence element to a sequence")
                : PythonTypes.ToList(item, budget);
            if (pair.Count != 2) throw TemplateError.Value($"dictionary update sequence element has length {pair.Count}; 2 is required");
            dict.Set(pair[0], pair[1], budget);
        }
    }

    private static JinjaNamespace CreateNamespace(Interpreter interpreter, CallArguments arguments)
    {
        JinjaNamespace created = new();
        foreach ((object? name, object? value) in CreateDict(interpreter, arguments, "namespace").Items) created.Attributes.Set(name, value, interpreter.Budget);
        return created;
    }

    private static NativeFunction CreateJoiner(Interpreter interpreter, CallArguments arguments)
    {
        object? separator = CallArguments.Or(arguments.Bind("joiner", 0, "sep")[0], ", ");
        bool used = false;
        return new NativeFunction("joiner", (_, _) =>
        {
            object? result = used ? separator : "";
            used = true;
            return result;
        }, "Joiner");
    }

    private static object? RaiseException(Interpreter interpreter, CallArguments arguments)
    {
        object? message = arguments.Bind("raise_exception", 1, "message")[0];
        throw TemplateError.Rejected(PythonText.Str(message, interpreter.Budget));
    }

    private static string FormatNow(TimeProvider timeProvider, Interpreter interpreter, CallArguments arguments)
    {
        object? format = arguments.Bind("strftime_now", 1, "format")[0];
        string text = PythonTypes.TextOf(format) ?? throw TemplateError.Type($"strftime() argument 1 must be str, not {PythonTypes.Name(format)}");
        return interpreter.Budget.Made(StrftimeFormat.Format(timeProvider.GetLocalNow(), text));
    }
}

/// <summary><c>cycler('a', 'b')</c>: gives its items in turn.</summary>
internal sealed class Cycler
{
    private readonly IReadOnlyList<object?> _items;
    private int _position;

    public Cycler(IReadOnlyList<object?> items) =>
        _items = items.Count > 0 ? items : throw TemplateError.Evaluation("RuntimeError", "at least one item has to be provided");

    public bool TryGetAttribute(string name, out object? value)
    {
        value = name switch
        {
            "current" => _items[_position],
            "next" => new NativeFunction("next", (_, _) => Next(), "method"),
            "reset" => new NativeFunction("reset", (_, _) => Reset(), "method"),
            "items" => new PythonTuple(_items),
            "pos" => (long)_position,
            _ => null,
        };
        return name is "current" or "next" or "reset" or "items" or "pos";
    }

    private object? Next()
    {
        object? item = _items[_position];
        _position = (_position + 1) % _items.Count;
        return item;
    }

    private object? Reset()
    {
        _position = 0;
        return null;
    }
}
