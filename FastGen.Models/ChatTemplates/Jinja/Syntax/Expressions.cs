namespace FastGen.Models.Jinja;

/// <summary>A node that yields a value.</summary>
internal abstract class Expression(int line)
{
    public int Line { get; } = line;
}

internal sealed class ConstantExpression(object? value, int line) : Expression(line)
{
    public object? Value { get; } = value;
}

internal enum NameUse
{
    Load,
    Store,

    /// <summary>Always bound when its frame begins: a parameter of a macro or a target of a loop or of <c>with</c>.</summary>
    Parameter,
}

/// <summary>A variable. The resolver says where it lives: <see cref="Hops"/> frames outwards, in <see cref="Slot"/>.</summary>
internal sealed class NameExpression(string name, NameUse use, int line) : Expression(line)
{
    public string Name { get; } = name;
    public NameUse Use { get; } = use;
    public int Hops { get; set; }
    public int Slot { get; set; }
}

/// <summary>An assignment target <c>namespace.attribute</c>.</summary>
internal sealed class NamespaceTarget(string name, string attribute, int line) : Expression(line)
{
    public NameExpression Variable { get; } = new(name, NameUse.Load, line);
    public string Attribute { get; } = attribute;
}

internal sealed class TupleExpression(IReadOnlyList<Expression> items, int line) : Expression(line)
{
    public IReadOnlyList<Expression> Items { get; } = items;
}

internal sealed class ListExpression(IReadOnlyList<Expression> items, int line) : Expression(line)
{
    public IReadOnlyList<Expression> Items { get; } = items;
}

internal sealed class DictExpression(IReadOnlyList<(Expression Key, Expression Value)> items, int line) : Expression(line)
{
    public IReadOnlyList<(Expression Key, Expression Value)> Items { get; } = items;
}

internal sealed class ConditionalExpression(Expression test, Expression whenTrue, Expression? whenFalse, int line) : Expression(line)
{
    public Expression Test { get; } = test;
    public Expression WhenTrue { get; } = whenTrue;
    public Expression? WhenFalse { get; } = whenFalse;
}

internal enum BinaryOperator { Add, Subtract, Multiply, Divide, FloorDivide, Modulo, Power, And, Or }

internal sealed class BinaryExpression(BinaryOperator @operator, Expression left, Expression right, int line) : Expression(line)
{
    public BinaryOperator Operator { get; } = @operator;
    public Expression Left { get; } = left;
    public Expression Right { get; } = right;
}

internal enum UnaryOperator { Not, Negate, Plus }

internal sealed class UnaryExpression(UnaryOperator @operator, Expression operand, int line) : Expression(line)
{
    public UnaryOperator Operator { get; } = @operator;
    public Expression Operand { get; } = operand;
}

/// <summary><c>a ~ b ~ c</c>.</summary>
internal sealed class ConcatExpression(IReadOnlyList<Expression> items, int line) : Expression(line)
{
    public IReadOnlyList<Expression> Items { get; } = items;
}

internal enum ComparisonOperator { Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual, In, NotIn }

/// <summary>A chain <c>a &lt; b &lt;= c</c>: true when every link is.</summary>
internal sealed class CompareExpression(Expression first, IReadOnlyList<(ComparisonOperator Operator, Expression Operand)> links, int line) : Expression(line)
{
    public Expression First { get; } = first;
    public IReadOnlyList<(ComparisonOperator Operator, Expression Operand)> Links { get; } = links;
}

internal sealed class AttributeExpression(Expression target, string name, int line) : Expression(line)
{
    public Expression Target { get; } = target;
    public string Name { get; } = name;
}

internal sealed class ItemExpression(Expression target, Expression index, int line) : Expression(line)
{
    public Expression Target { get; } = target;
    public Expression Index { get; } = index;
}

/// <summary>The inside of <c>x[start:stop:step]</c>; only ever the index of an <see cref="ItemExpression"/>, alone or in a tuple.</summary>
internal sealed class SliceExpression(Expression? start, Expression? stop, Expression? step, int line) : Expression(line)
{
    public Expression? Start { get; } = start;
    public Expression? Stop { get; } = stop;
    public Expression? Step { get; } = step;
}

/// <summary>Arguments as written: positional, by keyword, <c>*unpacked</c> and <c>**unpacked</c>.</summary>
internal sealed record ArgumentList(IReadOnlyList<Expression> Positional, IReadOnlyList<(string Name, Expression Value)> Keywords, Expression? Unpacked, Expression? UnpackedKeywords)
{
    public static readonly ArgumentList Empty = new([], [], null, null);
}

internal sealed class CallExpression(Expression target, ArgumentList arguments, int line) : Expression(line)
{
    public Expression Target { get; } = target;
    public ArgumentList Arguments { get; } = arguments;
}

/// <summary><c>operand | name(…)</c>; without operand it filters the text of the block that it heads.</summary>
internal sealed class FilterExpression(Expression? operand, string name, ArgumentList arguments, int line) : Expression(line)
{
    public Expression? Operand { get; } = operand;
    public string Name { get; } = name;
    public ArgumentList Arguments { get; } = arguments;
}

internal sealed class TestExpression(Expression operand, string name, ArgumentList arguments, int line) : Expression(line)
{
    public Expression Operand { get; } = operand;
    public string Name { get; } = name;
    public ArgumentList Arguments { get; } = arguments;
}
