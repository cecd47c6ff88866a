namespace FastGen.Models.Jinja;

internal sealed partial class Interpreter
{
    /// <summary>How a body ended: at its end, or by <c>break</c> or <c>continue</c>.</summary>
    private enum Flow { Normal, Break, Continue }

    private Flow Execute(IReadOnlyList<Statement> body, Frame frame)
    {
        foreach (Statement statement in body)
        {
            try
            {
                Flow flow = Execute(statement, frame);
                if (flow != Flow.Normal) return flow;
            }
            catch (TemplateError error) when (NoteLine(error, statement))
            {
                throw;
            }
        }
        return Flow.Normal;
    }

    // The innermost statement is asked first. Never catches, so that the stack of the error stays whole.
    private static bool NoteLine(TemplateError error, Statement statement)
    {
        error.Line ??= statement.Line;
        return false;
    }

    private Flow Execute(Statement statement, Frame frame)
    {
        Budget.Step();
        RenderBudget.GuardStack();
        switch (statement)
        {
            case DataStatement data:
                Write(data.Text);
                return Flow.Normal;
            case OutputStatement output:
                Write(PythonText.Str(Evaluate(output.Value, frame), Budget));
                return Flow.Normal;
            case SetStatement set:
                RequireNamespaces(set.Target, frame);
                Assign(set.Target, Evaluate(set.Value, frame), frame);
                return Flow.Normal;
            case SetBlockStatement setBlock:
                ExecuteSetBlock(setBlock, frame);
                return Flow.Normal;
            case IfStatement @if:
                return ExecuteIf(@if, frame);
            case ForStatement @for:
                return ExecuteFor(@for, frame);
            case MacroStatement macro:
                Assign(macro.Target, new Macro(macro.Definition, frame), frame);
                return Flow.Normal;
            case CallBlockStatement callBlock:
                Macro caller = new(callBlock.Caller, frame);
                Write(PythonText.Str(EvaluateCall(callBlock.Call, frame, caller), Budget));
                return Flow.Normal;
            case GenerationStatement generation:
                Write(PythonText.Str(new Macro(generation.Body, frame).Call(this, CallArguments.None), Budget));
                return Flow.Normal;
            case FilterBlockStatement filterBlock:
                return ExecuteFilterBlock(filterBlock, frame);
            case WithStatement with:
                return ExecuteWith(with, frame);
            case BreakStatement:
                return Flow.Break;
            default:
                return Flow.Continue;
        }
    }

    private Flow ExecuteIf(IfStatement statement, Frame frame)
    {
        foreach ((Expression test, IReadOnlyList<Statement> body) in statement.Branches)
        {
            if (PythonTypes.IsTrue(Evaluate(test, frame))) return Execute(body, frame);
        }
        return Execute(statement.Otherwise, frame);
    }

    private void ExecuteSetBlock(SetBlockStatement statement, Frame frame)
    {
        RequireNamespaces(statement.Target, frame);
        Frame block = EnterFrame(frame, statement.Layout);
        string text = Capture(statement.Body, block);
        Assign(statement.Target, statement.Filter is null ? text : ApplyFilter(statement.Filter, block, text), frame);
    }

    private Flow ExecuteFilterBlock(FilterBlockStatement statement, Frame frame)
    {
        Frame block = EnterFrame(frame, statement.Layout);
        Flow flow = Flow.Normal;
        string text = Capture(() => flow = Execute(statement.Body, block));

        // A `break` inside leaves before the filter writes.
        if (flow != Flow.Normal) return flow;
        object? filtered = ApplyFilter(statement.Filter, block, text);
        Write(PythonTypes.TextOf(filtered) ?? throw TemplateError.Type($"sequence item 0: expected str instance, {PythonTypes.Name(filtered)} found"));
        return flow;
    }

    private Flow ExecuteWith(WithStatement statement, Frame frame)
    {
        Frame inner = EnterFrame(frame, statement.Layout);
        foreach ((Expression target, Expression value) in statement.Bindings) Assign(target, Evaluate(value, frame), inner);
        return Execute(statement.Body, inner);
    }

    private Flow ExecuteFor(ForStatement statement, Frame frame)
    {
        object? iterable = Evaluate(statement.Iterable, frame);
        if (!statement.Recursive) return RunLoop(statement, frame, iterable, depth: 0);
        Write(Capture(() => RunLoop(statement, frame, iterable, depth: 0)));
        return Flow.Normal;
    }

    private Flow RunLoop(ForStatement statement, Frame frame, object? iterable, int depth)
    {
        IEnumerable<object?> elements = statement.Filter is null ? PythonTypes.Iterate(iterable) : Filtered(statement, frame, iterable);
        Func<object?, int, string>? recurse = statement.Recursive ? (inner, level) => Capture(() => RunLoop(statement, frame, inner, level)) : null;
        LoopContext loop = new(statement.Filter is null ? iterable : null, elements, recurse, depth, Budget);
        Frame body = new(frame, statement.BodyLayout);
        bool completed = false;
        while (loop.MoveNext(out object? item))
        {
            Budget.Step();
            Assign(statement.Target, item, body);
            if (statement.LoopSlot >= 0) body[statement.LoopSlot] = loop;
            Enter(body, keepParameters: true);
            Flow flow = Execute(statement.Body, body);
            if (flow == Flow.Break) break;
            completed |= flow == Flow.Normal;
        }

        // As in Jinja: an iteration left by `break` or `continue` does not count against `else`.
        if (completed || statement.Otherwise.Count == 0) return Flow.Normal;
        return Execute(statement.Otherwise, EnterFrame(frame, statement.OtherwiseLayout));
    }

    private IEnumerable<object?> Filtered(ForStatement statement, Frame frame, object? iterable)
    {
        Frame test = EnterFrame(frame, statement.FilterLayout);
        foreach (object? item in PythonTypes.Iterate(iterable))
        {
            Budget.Step();
            Assign(statement.FilterTarget!, item, test);
            if (PythonTypes.IsTrue(Evaluate(statement.Filter!, test))) yield return item;
        }
    }

    private static void RequireNamespaces(Expression target, Frame frame)
    {
        if (target is NamespaceTarget { Variable: NameExpression variable } && frame.Up(variable.Hops)[variable.Slot] is not JinjaNamespace)
        {
            throw TemplateError.Runtime("cannot assign attribute on non-namespace object");
        }
        if (target is TupleExpression tuple) foreach (Expression item in tuple.Items) RequireNamespaces(item, frame);
    }

    private void Assign(Expression target, object? value, Frame frame)
    {
        switch (target)
        {
            case NameExpression name:
                frame.Up(name.Hops)[name.Slot] = value;
                break;
            case NamespaceTarget attribute:
                ((JinjaNamespace)frame.Up(attribute.Variable.Hops)[attribute.Variable.Slot]!).Attributes.Set(attribute.Attribute, value, Budget);
                break;
            case TupleExpression tuple:
                Unpack(tuple.Items, value, frame);
                break;
        }
    }

    private void Unpack(IReadOnlyList<Expression> targets, object? value, Frame frame)
    {
        IEnumerable<object?> elements = PythonTypes.TryIterate(value) ?? throw TemplateError.Type($"cannot unpack non-iterable {PythonTypes.Name(value)} object");
        List<object?> items = [.. elements.Take(targets.Count + 1)];
        if (items.Count > targets.Count) throw TemplateError.Value($"too many values to unpack (expected {targets.Count})");
        if (items.Count < targets.Count) throw TemplateError.Value($"not enough values to unpack (expected {targets.Count}, got {items.Count})");
        for (int i = 0; i < targets.Count; i++) Assign(targets[i], items[i], frame);
    }
}
