namespace FastGen.Models.Jinja;

/// <summary>Something that a template can call.</summary>
internal abstract class Callable(string name, string typeName)
{
    public string Name { get; } = name;
    public string TypeName { get; } = typeName;

    public abstract object? Call(Interpreter interpreter, CallArguments arguments);
}

/// <summary>A function or a bound method that the engine provides.</summary>
internal sealed class NativeFunction(string name, Func<Interpreter, CallArguments, object?> body, string typeName = "builtin_function_or_method") : Callable(name, typeName)
{
    public override object? Call(Interpreter interpreter, CallArguments arguments) => body(interpreter, arguments);
}

/// <summary>Evaluated arguments of a call, a filter or a test.</summary>
internal sealed class CallArguments(IReadOnlyList<object?> positional, IReadOnlyList<KeyValuePair<string, object?>> keywords)
{
    /// <summary>Stands for a parameter that was not given.</summary>
    public static readonly object Missing = new();
    public static readonly CallArguments None = new([], []);

    public IReadOnlyList<object?> Positional { get; } = positional;
    public IReadOnlyList<KeyValuePair<string, object?>> Keywords { get; } = keywords;

    /// <summary>The arguments in the order of <paramref name="names"/>, <see cref="Missing"/> where one is left out. The first <paramref name="required"/> must be given.</summary>
    public object?[] Bind(string function, int required, params ReadOnlySpan<string> names)
    {
        if (Positional.Count > names.Length)
        {
            throw TemplateError.Type($"{function}() takes {(required == names.Length ? "" : "at most ")}{names.Length} argument{(names.Length == 1 ? "" : "s")} ({Positional.Count} given)");
        }
        object?[] bound = new object?[names.Length];
        for (int i = 0; i < bound.Length; i++) bound[i] = i < Positional.Count ? Positional[i] : Missing;
        foreach ((string name, object? value) in Keywords)
        {
            int index = names.IndexOf(name);
            if (index < 0) throw TemplateError.Type($"{function}() got an unexpected keyword argument '{name}'");
            if (bound[index] != Missing) throw TemplateError.Type($"{function}() got multiple values for argument '{name}'");
            bound[index] = value;
        }
        for (int i = 0; i < required; i++)
        {
            if (bound[i] == Missing) throw TemplateError.Type($"{function}() missing 1 required positional argument: '{names[i]}'");
        }
        return bound;
    }

    /// <summary>The arguments of a function that takes none by keyword.</summary>
    public object?[] BindPositional(string function, int required, int most)
    {
        if (Keywords.Count > 0) throw TemplateError.Type($"{function}() takes no keyword arguments");
        if (Positional.Count < required || Positional.Count > most)
        {
            string expected = required == most ? most == 0 ? "no arguments" : most == 1 ? "exactly one argument" : $"exactly {most} arguments"
                : Positional.Count < required ? $"at least {required} argument{(required == 1 ? "" : "s")}" : $"at most {most} argument{(most == 1 ? "" : "s")}";
            throw TemplateError.Type($"{function}() takes {expected} ({Positional.Count} given)");
        }
        object?[] bound = new object?[most];
        for (int i = 0; i < most; i++) bound[i] = i < Positional.Count ? Positional[i] : Missing;
        return bound;
    }

    public static T Or<T>(object? argument, T otherwise) where T : class? => argument == Missing ? otherwise : (T)argument!;

    /// <summary>An int argument, or <paramref name="otherwise"/> when it was not given.</summary>
    public static long Integer(object? argument, long otherwise)
    {
        if (argument == Missing) return otherwise;
        if (argument is Undefined undefined) throw undefined.Error();
        return PythonNumber.IsInteger(argument) ? PythonNumber.ToLong(argument) : throw TemplateError.Type($"'{PythonTypes.Name(argument)}' object cannot be interpreted as an integer");
    }

    public static bool Flag(object? argument, bool otherwise) => argument == Missing ? otherwise : PythonTypes.IsTrue(argument);
}
