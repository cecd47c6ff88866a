namespace FastGen.Models.Jinja;

/// <summary>A node that writes output or binds names.</summary>
internal abstract class Statement(int line)
{
    public int Line { get; } = line;
}

internal sealed class DataStatement(string text, int line) : Statement(line)
{
    public string Text { get; } = text;
}

internal sealed class OutputStatement(Expression value, int line) : Statement(line)
{
    public Expression Value { get; } = value;
}

internal sealed class SetStatement(Expression target, Expression value, int line) : Statement(line)
{
    public Expression Target { get; } = target;
    public Expression Value { get; } = value;
}

/// <summary><c>{% set name | filter %}…{% endset %}</c>.</summary>
internal sealed class SetBlockStatement(Expression target, FilterExpression? filter, IReadOnlyList<Statement> body, int line) : Statement(line)
{
    public Expression Target { get; } = target;
    public FilterExpression? Filter { get; } = filter;
    public IReadOnlyList<Statement> Body { get; } = body;
    public FrameLayout Layout { get; set; } = FrameLayout.Empty;
}

internal sealed class IfStatement(IReadOnlyList<(Expression Test, IReadOnlyList<Statement> Body)> branches, IReadOnlyList<Statement> otherwise, int line) : Statement(line)
{
    public IReadOnlyList<(Expression Test, IReadOnlyList<Statement> Body)> Branches { get; } = branches;
    public IReadOnlyList<Statement> Otherwise { get; } = otherwise;
}

internal sealed class ForStatement(Expression target, Expression iterable, Expression? filter, bool recursive, IReadOnlyList<Statement> body, IReadOnlyList<Statement> otherwise, int line) : Statement(line)
{
    public Expression Target { get; } = target;
    public Expression Iterable { get; } = iterable;

    /// <summary>The condition of <c>for x in y if condition</c>.</summary>
    public Expression? Filter { get; } = filter;

    /// <summary>The target again, for the frame in which the condition is evaluated.</summary>
    public Expression? FilterTarget { get; } = filter is null ? null : Targets.Clone(target);

    public bool Recursive { get; } = recursive;
    public IReadOnlyList<Statement> Body { get; } = body;
    public IReadOnlyList<Statement> Otherwise { get; } = otherwise;

    public FrameLayout BodyLayout { get; set; } = FrameLayout.Empty;
    public FrameLayout FilterLayout { get; set; } = FrameLayout.Empty;
    public FrameLayout OtherwiseLayout { get; set; } = FrameLayout.Empty;

    /// <summary>Slot of the special variable <c>loop</c>, or -1 where the body does not use it.</summary>
    public int LoopSlot { get; set; } = -1;
}

/// <summary>What a macro and the body of a call block have in common.</summary>
internal sealed class MacroDefinition(string? name, IReadOnlyList<NameExpression> parameters, IReadOnlyList<Expression> defaults, IReadOnlyList<Statement> body)
{
    public string? Name { get; } = name;
    public IReadOnlyList<NameExpression> Parameters { get; } = parameters;

    public PythonTuple ParameterNames { get; } = new([.. parameters.Select(parameter => parameter.Name)]);

    /// <summary>Defaults of the last parameters.</summary>
    public IReadOnlyList<Expression> Defaults { get; } = defaults;

    public IReadOnlyList<Statement> Body { get; } = body;
    public FrameLayout Layout { get; set; } = FrameLayout.Empty;

    /// <summary>Slots of the special variables, or -1 where the body does not use them.</summary>
    public int CallerSlot { get; set; } = -1;
    public int KeywordsSlot { get; set; } = -1;
    public int VariadicSlot { get; set; } = -1;
}

internal sealed class MacroStatement(NameExpression target, MacroDefinition definition, int line) : Statement(line)
{
    public NameExpression Target { get; } = target;
    public MacroDefinition Definition { get; } = definition;
}

/// <summary><c>{% call(parameters) macro(…) %}…{% endcall %}</c>.</summary>
internal sealed class CallBlockStatement(CallExpression call, MacroDefinition caller, int line) : Statement(line)
{
    public CallExpression Call { get; } = call;
    public MacroDefinition Caller { get; } = caller;
}

/// <summary><c>{% generation %}…{% endgeneration %}</c>: marks the assistant's text for training, and only writes it here.</summary>
internal sealed class GenerationStatement(MacroDefinition body, int line) : Statement(line)
{
    public MacroDefinition Body { get; } = body;
}

internal sealed class FilterBlockStatement(FilterExpression filter, IReadOnlyList<Statement> body, int line) : Statement(line)
{
    public FilterExpression Filter { get; } = filter;
    public IReadOnlyList<Statement> Body { get; } = body;
    public FrameLayout Layout { get; set; } = FrameLayout.Empty;
}

internal sealed class WithStatement(IReadOnlyList<(Expression Target, Expression Value)> bindings, IReadOnlyList<Statement> body, int line) : Statement(line)
{
    public IReadOnlyList<(Expression Target, Expression Value)> Bindings { get; } = bindings;
    public IReadOnlyList<Statement> Body { get; } = body;
    public FrameLayout Layout { get; set; } = FrameLayout.Empty;
}

internal sealed class BreakStatement(int line) : Statement(line);

internal sealed class ContinueStatement(int line) : Statement(line);

/// <summary>Operations on assignment targets: names, tuples of targets and <see cref="NamespaceTarget"/>.</summary>
internal static class Targets
{
    public static Expression Clone(Expression target) => target switch
    {
        NameExpression name => new NameExpression(name.Name, name.Use, name.Line),
        TupleExpression tuple => new TupleExpression([.. tuple.Items.Select(Clone)], tuple.Line),
        _ => target,
    };

    /// <summary>The names that a target binds; namespaces are not bound but changed.</summary>
    public static IEnumerable<NameExpression> Names(Expression target) => target switch
    {
        NameExpression name => [name],
        TupleExpression tuple => tuple.Items.SelectMany(Names),
        _ => [],
    };
}
