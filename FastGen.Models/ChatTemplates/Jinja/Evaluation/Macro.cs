namespace FastGen.Models.Jinja;

/// <summary>A macro, or the body of a call block, with the frame in which it was defined.</summary>
internal sealed class Macro(MacroDefinition definition, Frame frame) : Callable(definition.Name ?? "anonymous", "Macro")
{
    public new string? Name => definition.Name;

    private string Quoted => definition.Name is null ? "None" : $"'{definition.Name}'";

    public bool TryGetAttribute(string name, out object? value)
    {
        value = name switch
        {
            "name" => Name,
            "arguments" => definition.ParameterNames,
            "catch_kwargs" => definition.KeywordsSlot >= 0,
            "catch_varargs" => definition.VariadicSlot >= 0,
            "caller" => definition.CallerSlot >= 0,
            _ => null,
        };
        return name is "name" or "arguments" or "catch_kwargs" or "catch_varargs" or "caller";
    }

    public override object? Call(Interpreter interpreter, CallArguments arguments)
    {
        Frame body = interpreter.EnterFrame(frame, definition.Layout);
        Bind(body, arguments);
        SetDefaults(interpreter, body);
        return interpreter.Capture(definition.Body, body);
    }

    private void Bind(Frame body, CallArguments arguments)
    {
        OrderedDictionary<string, object?> keywords = [];
        foreach ((string name, object? value) in arguments.Keywords) keywords[name] = value;
        HashSet<string> taken = [];
        object? Take(string name, object? otherwise) => keywords.TryGetValue(name, out object? value) && taken.Add(name) ? value : otherwise;
        int count = definition.Parameters.Count;
        for (int i = 0; i < count; i++)
        {
            body[definition.Parameters[i].Slot] = i < arguments.Positional.Count ? arguments.Positional[i] : Take(definition.Parameters[i].Name, Frame.Unset);
        }
        if (definition.CallerSlot >= 0) body[definition.CallerSlot] = Take("caller", null) ?? Undefined.Hint("No caller defined");
        if (definition.KeywordsSlot >= 0)
        {
            PythonDict rest = new();
            foreach ((string name, object? value) in keywords)
            {
                if (!taken.Contains(name)) rest[name] = value;
            }
            body[definition.KeywordsSlot] = rest;
        }
        else if (keywords.Count > taken.Count)
        {
            string extra = keywords.Keys.First(name => !taken.Contains(name));
            throw TemplateError.Type(keywords.ContainsKey("caller") && !taken.Contains("caller")
                ? $"macro {Quoted} was invoked with two values for the special caller argument. This is most likely a bug."
                : $"macro {Quoted} takes no keyword argument '{extra}'");
        }
        if (definition.VariadicSlot >= 0) body[definition.VariadicSlot] = new PythonTuple([.. arguments.Positional.Skip(count)]);
        else if (arguments.Positional.Count > count) throw TemplateError.Type($"macro {Quoted} takes not more than {count} argument(s)");
    }

    // A default sees the parameters before it.
    private void SetDefaults(Interpreter interpreter, Frame body)
    {
        int first = definition.Parameters.Count - definition.Defaults.Count;
        for (int i = 0; i < definition.Parameters.Count; i++)
        {
            NameExpression parameter = definition.Parameters[i];
            if (body[parameter.Slot] != Frame.Unset) continue;
            body[parameter.Slot] = i < first ? Undefined.Hint($"parameter '{parameter.Name}' was not provided") : interpreter.Evaluate(definition.Defaults[i - first], body);
        }
    }
}
