namespace FastGen.Models.Jinja;

/// <summary>Collects the names of one frame: it walks the statements of that frame and stops at those that open another.</summary>
internal sealed class SymbolCollector(SymbolTable symbols)
{
    private SymbolTable _symbols = symbols;

    public void Visit(IEnumerable<Statement> body)
    {
        foreach (Statement statement in body) Visit(statement);
    }

    private void Visit(Statement statement)
    {
        switch (statement)
        {
            case OutputStatement output:
                Visit(output.Value);
                break;
            case SetStatement set:
                Visit(set.Value);
                VisitTarget(set.Target);
                break;
            case SetBlockStatement setBlock:
                VisitTarget(setBlock.Target);
                break;
            case IfStatement @if:
                VisitIf(@if);
                break;
            case ForStatement @for:
                Visit(@for.Iterable);
                break;
            case MacroStatement macro:
                _symbols.Store(macro.Target.Name);
                break;
            case CallBlockStatement callBlock:
                Visit(callBlock.Call);
                break;
            case FilterBlockStatement filterBlock:
                Visit(filterBlock.Filter);
                break;
            case WithStatement with:
                foreach ((_, Expression value) in with.Bindings) Visit(value);
                break;
        }
    }

    // The second and later tests are read in their own branch, as a nested `if` in the else part would be.
    private void VisitIf(IfStatement statement)
    {
        SymbolTable original = _symbols;
        Visit(statement.Branches[0].Test);
        SymbolTable body = InBranch(original, () => Visit(statement.Branches[0].Body));
        SymbolTable elifs = InBranch(original, () =>
        {
            foreach ((Expression test, IReadOnlyList<Statement> branch) in statement.Branches.Skip(1)) VisitIf(new IfStatement([(test, branch)], [], statement.Line));
        });
        SymbolTable otherwise = InBranch(original, () => Visit(statement.Otherwise));
        original.Merge([body, elifs, otherwise]);
    }

    private SymbolTable InBranch(SymbolTable original, Action visit)
    {
        SymbolTable branch = _symbols = original.Branch();
        visit();
        _symbols = original;
        return branch;
    }

    public void VisitTarget(Expression target)
    {
        switch (target)
        {
            case NameExpression { Use: NameUse.Parameter } name:
                _symbols.DeclareParameter(name.Name);
                break;
            case NameExpression name:
                _symbols.Store(name.Name);
                break;
            case NamespaceTarget attribute:
                _symbols.Load(attribute.Variable.Name);
                break;
            case TupleExpression tuple:
                foreach (Expression item in tuple.Items) VisitTarget(item);
                break;
        }
    }

    public void Visit(Expression? expression)
    {
        if (expression is null) return;
        RenderBudget.GuardStack();
        if (expression is NameExpression name) _symbols.Load(name.Name);
        else foreach (Expression child in Syntax.Children(expression)) Visit(child);
    }
}
