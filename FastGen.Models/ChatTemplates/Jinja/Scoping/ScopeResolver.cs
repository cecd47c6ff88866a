namespace FastGen.Models.Jinja;

/// <summary>
/// Gives every name its frame and slot, in the order in which Jinja's compiler does, and finds what can be refused before
/// rendering: unknown filters and tests, <c>break</c> outside a loop, an assignment to <c>loop</c>.
/// </summary>
internal sealed class ScopeResolver
{
    private const string LoopVariable = "loop";

    private SymbolTable _symbols = new(null);

    // Inside an `if` or a conditional expression an unknown filter fails only when it is reached.
    private bool _soft;
    private bool _breakable;
    private int _loops;

    public static FrameLayout ResolveTemplate(IReadOnlyList<Statement> template)
    {
        ScopeResolver resolver = new();
        new SymbolCollector(resolver._symbols).Visit(template);
        resolver.Resolve(template);
        return resolver._symbols.ToLayout();
    }

    private void Resolve(IEnumerable<Statement> body)
    {
        foreach (Statement statement in body) Resolve(statement);
    }

    private void Resolve(Statement statement)
    {
        switch (statement)
        {
            case OutputStatement output:
                Resolve(output.Value);
                break;
            case SetStatement set:
                ResolveTarget(set.Target);
                Resolve(set.Value);
                break;
            case SetBlockStatement setBlock:
                ResolveTarget(setBlock.Target);
                setBlock.Layout = InFrame(new SymbolTable(_symbols), collector => { collector.Visit(setBlock.Filter); collector.Visit(setBlock.Body); }, () =>
                {
                    Resolve(setBlock.Body);
                    Resolve(setBlock.Filter);
                });
                break;
            case IfStatement @if:
                ResolveIf(@if);
                break;
            case ForStatement @for:
                ResolveFor(@for);
                break;
            case MacroStatement macro:
                Locate(macro.Target);
                ResolveMacro(macro.Definition, macro.Line);
                break;
            case CallBlockStatement callBlock:
                ResolveMacro(callBlock.Caller, callBlock.Line);
                Resolve(callBlock.Call);
                break;
            case GenerationStatement generation:
                ResolveMacro(generation.Body, generation.Line);
                break;
            case FilterBlockStatement filterBlock:
                filterBlock.Layout = InFrame(new SymbolTable(_symbols), collector => { collector.Visit(filterBlock.Body); collector.Visit(filterBlock.Filter); }, () =>
                {
                    Resolve(filterBlock.Body);
                    Resolve(filterBlock.Filter);
                });
                break;
            case WithStatement with:
                ResolveWith(with);
                break;
            case BreakStatement or ContinueStatement when !_breakable:
                throw TemplateError.Syntax($"'{(statement is BreakStatement ? "break" : "continue")}' outside loop", statement.Line);
        }
    }

    /// <summary>Collects the names of a new frame, resolves what is inside it, and returns its layout.</summary>
    private FrameLayout InFrame(SymbolTable inner, Action<SymbolCollector> collect, Action resolve)
    {
        (SymbolTable outer, bool soft) = (_symbols, _soft);
        (_symbols, _soft) = (inner, false);
        collect(new SymbolCollector(inner));
        resolve();
        (_symbols, _soft) = (outer, soft);
        return inner.ToLayout();
    }

    private void ResolveIf(IfStatement statement)
    {
        bool soft = _soft;
        _soft = true;
        foreach ((Expression test, IReadOnlyList<Statement> branch) in statement.Branches)
        {
            Resolve(test);
            Resolve(branch);
        }
        Resolve(statement.Otherwise);
        _soft = soft;
    }

    private void ResolveFor(ForStatement statement)
    {
        SymbolTable outer = _symbols;
        Resolve(statement.Iterable);
        bool breakable = _breakable;
        _loops++;
        if (Targets.Names(statement.Target).FirstOrDefault(name => name.Name == LoopVariable) is { } assigned) throw LoopAssigned(assigned);
        _breakable = true;
        SymbolTable body = new(outer);
        if (statement.Recursive || Syntax.Undeclared(statement.Body, LoopVariable).Count > 0) statement.LoopSlot = body.DeclareParameter(LoopVariable);
        statement.BodyLayout = InFrame(body, collector => { collector.VisitTarget(statement.Target); collector.Visit(statement.Body); }, () =>
        {
            ResolveTarget(statement.Target);
            Resolve(statement.Body);
        });
        _breakable = breakable && !statement.Recursive;
        if (statement.Filter is not null)
        {
            statement.FilterLayout = InFrame(new SymbolTable(outer), collector => { collector.VisitTarget(statement.FilterTarget!); collector.Visit(statement.Filter); }, () =>
            {
                ResolveTarget(statement.FilterTarget!);
                Resolve(statement.Filter);
            });
        }
        statement.OtherwiseLayout = InFrame(new SymbolTable(outer), collector => collector.Visit(statement.Otherwise), () => Resolve(statement.Otherwise));
        _breakable = breakable;
        _loops--;
    }

    private void ResolveMacro(MacroDefinition definition, int line)
    {
        SymbolTable frame = new(_symbols);
        void Collect(SymbolCollector collector)
        {
            foreach (NameExpression parameter in definition.Parameters) collector.VisitTarget(parameter);
            foreach (Expression @default in definition.Defaults) collector.Visit(@default);
            collector.Visit(definition.Body);
        }
        Collect(new SymbolCollector(frame));
        HashSet<string> special = Syntax.Undeclared(definition.Body, "caller", "kwargs", "varargs");
        int caller = definition.Parameters.ToList().FindIndex(parameter => parameter.Name == "caller");
        if (special.Contains("caller") && caller >= 0 && caller < definition.Parameters.Count - definition.Defaults.Count)
        {
            throw TemplateError.Syntax("When defining macros or call blocks the special \"caller\" argument must be omitted or be given a default.", line);
        }
        if (special.Contains("caller") && caller < 0) definition.CallerSlot = frame.DeclareParameter("caller");
        if (special.Contains("kwargs") && definition.Parameters.All(parameter => parameter.Name != "kwargs")) definition.KeywordsSlot = frame.DeclareParameter("kwargs");
        if (special.Contains("varargs") && definition.Parameters.All(parameter => parameter.Name != "varargs")) definition.VariadicSlot = frame.DeclareParameter("varargs");
        bool breakable = _breakable;
        _breakable = false;
        definition.Layout = InFrame(frame, Collect, () =>
        {
            foreach (NameExpression parameter in definition.Parameters) ResolveTarget(parameter);
            foreach (Expression @default in definition.Defaults) Resolve(@default);
            Resolve(definition.Body);
        });
        _breakable = breakable;
    }

    private void ResolveWith(WithStatement with)
    {
        foreach ((_, Expression value) in with.Bindings) Resolve(value);
        with.Layout = InFrame(new SymbolTable(_symbols), collector =>
        {
            foreach ((Expression target, _) in with.Bindings) collector.VisitTarget(target);
            collector.Visit(with.Body);
        }, () =>
        {
            foreach ((Expression target, _) in with.Bindings) ResolveTarget(target);
            Resolve(with.Body);
        });
    }

    private void ResolveTarget(Expression target)
    {
        if (target is NameExpression { Name: LoopVariable, Use: NameUse.Store } && _loops > 0) throw LoopAssigned(target);
        if (target is NameExpression name) Locate(name);
        else if (target is NamespaceTarget attribute) Locate(attribute.Variable);
        else foreach (Expression item in ((TupleExpression)target).Items) ResolveTarget(item);
    }

    private static TemplateError LoopAssigned(Expression target) => TemplateError.Syntax("Can't assign to special loop variable in for-loop target", target.Line);

    private void Locate(NameExpression name) => (name.Hops, name.Slot) = _symbols.Find(name.Name)!.Value;

    private void Resolve(Expression? expression)
    {
        RenderBudget.GuardStack();
        switch (expression)
        {
            case null:
                return;
            case NameExpression name:
                Locate(name);
                return;
            case FilterExpression filter when !_soft && !Filters.Table.ContainsKey(filter.Name):
                throw TemplateError.Syntax($"No filter named '{filter.Name}'.", filter.Line);
            case TestExpression test when !_soft && !Tests.Table.ContainsKey(test.Name):
                throw TemplateError.Syntax($"No test named '{test.Name}'.", test.Line);
        }
        bool soft = _soft;
        _soft |= expression is ConditionalExpression;
        foreach (Expression child in Syntax.Children(expression)) Resolve(child);
        _soft = soft;
    }
}
