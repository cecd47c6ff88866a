namespace FastGen.Models.Jinja;

/// <summary>Recursive descent over Jinja's expression grammar, loosest binding first: operators here, what they bind in the file beside.</summary>
internal sealed partial class ExpressionParser(TokenStream stream)
{
    public Expression ParseExpression(bool withConditional = true) => stream.Nested<Expression>(withConditional ? ParseConditional : ParseOr);

    private Expression ParseConditional()
    {
        int line = stream.Current.Line;
        Expression value = ParseOr();
        while (stream.SkipIfName("if"))
        {
            Expression test = ParseOr();
            Expression? otherwise = stream.SkipIfName("else") ? stream.Nested(ParseConditional) : null;
            value = new ConditionalExpression(test, value, otherwise, line);
        }
        return value;
    }

    private Expression ParseOr()
    {
        int line = stream.Current.Line;
        Expression left = ParseAnd();
        while (stream.SkipIfName("or")) left = new BinaryExpression(BinaryOperator.Or, left, ParseAnd(), line);
        return left;
    }

    private Expression ParseAnd()
    {
        int line = stream.Current.Line;
        Expression left = ParseNot();
        while (stream.SkipIfName("and")) left = new BinaryExpression(BinaryOperator.And, left, ParseNot(), line);
        return left;
    }

    private Expression ParseNot()
    {
        int line = stream.Current.Line;
        return stream.SkipIfName("not") ? new UnaryExpression(UnaryOperator.Not, stream.Nested(ParseNot), line) : ParseCompare();
    }

    private Expression ParseCompare()
    {
        int line = stream.Current.Line;
        Expression first = ParseSum();
        List<(ComparisonOperator, Expression)> links = [];
        while (TakeComparison() is ComparisonOperator comparison) links.Add((comparison, ParseSum()));
        return links.Count == 0 ? first : new CompareExpression(first, links, line);
    }

    private ComparisonOperator? TakeComparison()
    {
        ComparisonOperator? comparison = stream.Current.Kind switch
        {
            TokenKind.Equal => ComparisonOperator.Equal,
            TokenKind.NotEqual => ComparisonOperator.NotEqual,
            TokenKind.Less => ComparisonOperator.Less,
            TokenKind.LessOrEqual => ComparisonOperator.LessOrEqual,
            TokenKind.Greater => ComparisonOperator.Greater,
            TokenKind.GreaterOrEqual => ComparisonOperator.GreaterOrEqual,
            TokenKind.Name when stream.Current.Text == "in" => ComparisonOperator.In,
            TokenKind.Name when stream.Current.Text == "not" && stream.Look.IsName("in") => ComparisonOperator.NotIn,
            _ => null,
        };
        if (comparison is not null) stream.Next();
        if (comparison == ComparisonOperator.NotIn) stream.Next();
        return comparison;
    }

    private Expression ParseSum()
    {
        int line = stream.Current.Line;
        Expression left = ParseConcat();
        while (stream.Current.Kind is TokenKind.Add or TokenKind.Subtract)
        {
            BinaryOperator @operator = stream.Next().Kind == TokenKind.Add ? BinaryOperator.Add : BinaryOperator.Subtract;
            left = new BinaryExpression(@operator, left, ParseConcat(), line);
        }
        return left;
    }

    private Expression ParseConcat()
    {
        int line = stream.Current.Line;
        Expression first = ParseProduct();
        if (stream.Current.Kind != TokenKind.Tilde) return first;
        List<Expression> items = [first];
        while (stream.SkipIf(TokenKind.Tilde)) items.Add(ParseProduct());
        return new ConcatExpression(items, line);
    }

    private Expression ParseProduct()
    {
        int line = stream.Current.Line;
        Expression left = ParsePower();
        while (stream.Current.Kind is TokenKind.Multiply or TokenKind.Divide or TokenKind.FloorDivide or TokenKind.Modulo)
        {
            BinaryOperator @operator = stream.Next().Kind switch
            {
                TokenKind.Multiply => BinaryOperator.Multiply,
                TokenKind.Divide => BinaryOperator.Divide,
                TokenKind.FloorDivide => BinaryOperator.FloorDivide,
                _ => BinaryOperator.Modulo,
            };
            left = new BinaryExpression(@operator, left, ParsePower(), line);
        }
        return left;
    }

    // Left associative and looser than the sign, unlike Python.
    private Expression ParsePower()
    {
        int line = stream.Current.Line;
        Expression left = ParseUnary(withFilter: true);
        while (stream.SkipIf(TokenKind.Power)) left = new BinaryExpression(BinaryOperator.Power, left, ParseUnary(withFilter: true), line);
        return left;
    }

    private Expression ParseUnary(bool withFilter)
    {
        int line = stream.Current.Line;
        Expression node;
        if (stream.SkipIf(TokenKind.Subtract)) node = new UnaryExpression(UnaryOperator.Negate, stream.Nested(() => ParseUnary(withFilter: false)), line);
        else if (stream.SkipIf(TokenKind.Add)) node = new UnaryExpression(UnaryOperator.Plus, stream.Nested(() => ParseUnary(withFilter: false)), line);
        else node = ParsePrimary();
        node = ParsePostfix(node);
        return withFilter ? ParseFiltersAndTests(node) : node;
    }
}
