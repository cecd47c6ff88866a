namespace FastGen.Models.Jinja;

/// <summary>The children of syntax nodes, for the walks that treat all kinds of node alike.</summary>
internal static class Syntax
{
    public static IEnumerable<Expression> Children(Expression expression) => expression switch
    {
        NamespaceTarget target => [target.Variable],
        TupleExpression tuple => tuple.Items,
        ListExpression list => list.Items,
        DictExpression dict => dict.Items.SelectMany(item => new[] { item.Key, item.Value }),
        ConditionalExpression conditional => Present(conditional.Test, conditional.WhenTrue, conditional.WhenFalse),
        BinaryExpression binary => [binary.Left, binary.Right],
        UnaryExpression unary => [unary.Operand],
        ConcatExpression concat => concat.Items,
        CompareExpression compare => compare.Links.Select(link => link.Operand).Prepend(compare.First),
        AttributeExpression attribute => [attribute.Target],
        ItemExpression item => [item.Target, item.Index],
        SliceExpression slice => Present(slice.Start, slice.Stop, slice.Step),
        CallExpression call => Children(call.Arguments).Prepend(call.Target),
        FilterExpression filter => Present(filter.Operand).Concat(Children(filter.Arguments)),
        TestExpression test => Children(test.Arguments).Prepend(test.Operand),
        _ => [],
    };

    private static IEnumerable<Expression> Children(ArgumentList arguments) =>
        arguments.Positional.Concat(arguments.Keywords.Select(keyword => keyword.Value)).Concat(Present(arguments.Unpacked, arguments.UnpackedKeywords));

    private static IEnumerable<Expression> Present(params Expression?[] expressions) => expressions.OfType<Expression>();

    /// <summary>Which of <paramref name="names"/> the statements read before they bind them, whatever the frame.</summary>
    public static HashSet<string> Undeclared(IEnumerable<Statement> body, params string[] names)
    {
        HashSet<string> open = [.. names];
        HashSet<string> found = [];
        foreach (Statement statement in body) VisitUndeclared(statement, open, found);
        return found;
    }

    private static void VisitUndeclared(Statement statement, HashSet<string> open, HashSet<string> found)
    {
        void Read(Expression? expression)
        {
            RenderBudget.GuardStack();
            if (expression is NameExpression { Use: NameUse.Load } name)
            {
                if (open.Contains(name.Name)) found.Add(name.Name);
            }
            else if (expression is not null)
            {
                foreach (Expression child in Children(expression)) Read(child);
            }
        }
        void Bind(Expression target)
        {
            foreach (NameExpression name in Targets.Names(target)) open.Remove(name.Name);
            if (target is NamespaceTarget) Read(target);
        }
        void Walk(IEnumerable<Statement> body)
        {
            foreach (Statement child in body) VisitUndeclared(child, open, found);
        }
        void Define(MacroDefinition definition)
        {
            foreach (NameExpression parameter in definition.Parameters) Bind(parameter);
            foreach (Expression @default in definition.Defaults) Read(@default);
            Walk(definition.Body);
        }
        switch (statement)
        {
            case OutputStatement output: Read(output.Value); break;
            case SetStatement set: Bind(set.Target); Read(set.Value); break;
            case SetBlockStatement setBlock: Bind(setBlock.Target); Read(setBlock.Filter); Walk(setBlock.Body); break;
            case IfStatement @if:
                foreach ((Expression test, IReadOnlyList<Statement> branch) in @if.Branches) { Read(test); Walk(branch); }
                Walk(@if.Otherwise);
                break;
            case ForStatement @for:
                Bind(@for.Target);
                Read(@for.Iterable);
                Walk(@for.Body);
                Walk(@for.Otherwise);
                Read(@for.Filter);
                break;
            case MacroStatement macro: Define(macro.Definition); break;
            case CallBlockStatement callBlock: Read(callBlock.Call); Define(callBlock.Caller); break;
            case GenerationStatement generation: Walk(generation.Body.Body); break;
            case FilterBlockStatement filterBlock: Walk(filterBlock.Body); Read(filterBlock.Filter); break;
            case WithStatement with:
                foreach ((Expression target, _) in with.Bindings) Bind(target);
                foreach ((_, Expression value) in with.Bindings) Read(value);
                Walk(with.Body);
                break;
        }
    }
}
