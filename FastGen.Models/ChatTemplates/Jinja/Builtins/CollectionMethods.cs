namespace FastGen.Models.Jinja;

/// <summary>The methods of list, tuple, dict and range that do not change them.</summary>
internal static class CollectionMethods
{
    public static bool TryBind(object? self, string name, out object? member)
    {
        Func<Interpreter, CallArguments, object?>? body = (self, name) switch
        {
            (PythonDict dict, "keys") => View(dict, DictPart.Keys, name),
            (PythonDict dict, "values") => View(dict, DictPart.Values, name),
            (PythonDict dict, "items") => View(dict, DictPart.Items, name),
            (PythonDict dict, "get") => (interpreter, arguments) => Get(dict, interpreter, arguments),
            (PythonDict dict, "copy") => (interpreter, _) => dict.Copy(interpreter.Budget),
            (PythonDict, "fromkeys") => FromKeys,
            (PythonList list, "copy") => (_, _) => list,
            (PythonList list, "count") => (interpreter, arguments) => Count(list.Items, interpreter, arguments),
            (PythonList list, "index") => (interpreter, arguments) => Index(list, list.Items, interpreter, arguments),
            (PythonTuple tuple, "count") => (interpreter, arguments) => Count(tuple.Items, interpreter, arguments),
            (PythonTuple tuple, "index") => (interpreter, arguments) => Index(tuple, tuple.Items, interpreter, arguments),
            (double number, "is_integer") => (_, _) => double.IsFinite(number) && number == Math.Floor(number),
            _ => null,
        };
        member = body is not null ? new NativeFunction(name, body) : (self, name) switch
        {
            (PythonRange range, "start") => range.Start,
            (PythonRange range, "stop") => range.Stop,
            (PythonRange range, "step") => range.Step,
            _ => null,
        };
        return member is not null;
    }

    private static Func<Interpreter, CallArguments, object?> View(PythonDict dict, DictPart part, string name) => (_, arguments) =>
    {
        if (arguments.Positional.Count + arguments.Keywords.Count > 0) throw TemplateError.Type($"dict.{name}() takes no arguments ({arguments.Positional.Count} given)");
        return new DictView(dict, part);
    };

    private static object? Get(PythonDict dict, Interpreter interpreter, CallArguments arguments)
    {
        object?[] given = arguments.BindPositional("get", 1, 2);
        if (dict.TryGet(given[0], interpreter.Budget, out object? value)) return value;
        return given[1] == CallArguments.Missing ? null : given[1];
    }

    private static PythonDict FromKeys(Interpreter interpreter, CallArguments arguments)
    {
        object?[] given = arguments.BindPositional("fromkeys", 1, 2);
        PythonDict dict = new();
        foreach (object? key in PythonTypes.ToList(given[0], interpreter.Budget)) dict.Set(key, given[1] == CallArguments.Missing ? null : given[1], interpreter.Budget);
        return dict;
    }

    private static long Count(IReadOnlyList<object?> items, Interpreter interpreter, CallArguments arguments)
    {
        object? wanted = arguments.BindPositional("count", 1, 1)[0];
        interpreter.Budget.Step(items.Count);
        return items.Count(item => PythonComparison.AreEqual(item, wanted, interpreter.Budget));
    }

    private static long Index(object self, IReadOnlyList<object?> items, Interpreter interpreter, CallArguments arguments)
    {
        object?[] given = arguments.BindPositional("index", 1, 3);
        (long start, _, int count) = new PythonSlice(given[1] == CallArguments.Missing ? null : given[1], given[2] == CallArguments.Missing ? null : given[2], null).Resolve(items.Count);
        for (long i = start; i < start + count; i++)
        {
            interpreter.Budget.Step();
            if (PythonComparison.AreEqual(items[(int)i], given[0], interpreter.Budget)) return i;
        }
        throw TemplateError.Value(self is PythonList ? $"{PythonText.Repr(given[0], interpreter.Budget)} is not in list" : "tuple.index(x): x not in tuple");
    }
}
