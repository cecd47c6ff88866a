namespace FastGen.Models.Jinja;

/// <summary>Recursive descent over Jinja's expression grammar, loosest binding first.</summary>
internal sealed class ExpressionParser(TokenStream stream)
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

    private Expression ParsePrimary(bool withNamespace = false)
    {
        Token token = stream.Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                stream.Next();
                return ParseName(token, withNamespace);
            case TokenKind.String:
                string text = stream.Next().Text;
                while (stream.Current.Kind == TokenKind.String) text += stream.Next().Text;
                return new ConstantExpression(text, token.Line);
            case TokenKind.Integer or TokenKind.Float:
                return new ConstantExpression(stream.Next().Value, token.Line);
            case TokenKind.LeftParenthesis:
                stream.Next();
                Expression inner = ParseTuple(explicitParentheses: true);
                stream.Expect(TokenKind.RightParenthesis);
                return inner;
            case TokenKind.LeftBracket:
                return ParseList();
            case TokenKind.LeftBrace:
                return ParseDict();
            default:
                throw stream.Fail($"unexpected '{token.Description}', expected a name or a value", token.Line);
        }
    }

    private Expression ParseName(Token token, bool withNamespace)
    {
        switch (token.Text)
        {
            case "true" or "True": return new ConstantExpression(true, token.Line);
            case "false" or "False": return new ConstantExpression(false, token.Line);
            case "none" or "None": return new ConstantExpression(null, token.Line);
        }
        if (withNamespace && stream.SkipIf(TokenKind.Dot)) return new NamespaceTarget(token.Text, stream.Expect(TokenKind.Name).Text, token.Line);
        return new NameExpression(token.Text, NameUse.Load, token.Line);
    }

    /// <summary>Parses <c>a, b, c</c> to a tuple, or one expression to itself.</summary>
    public Expression ParseTuple(bool withConditional = true, string? endName = null, bool explicitParentheses = false) =>
        stream.Nested(() => ParseTupleOf(() => ParseExpression(withConditional), endName, explicitParentheses));

    private Expression ParseTupleOf(Func<Expression> parseItem, string? endName, bool explicitParentheses)
    {
        int line = stream.Current.Line;
        List<Expression> items = [];
        bool isTuple = false;
        while (!AtTupleEnd(endName))
        {
            items.Add(parseItem());
            if (!stream.SkipIf(TokenKind.Comma)) break;
            isTuple = true;
        }
        if (!isTuple && items.Count == 1) return items[0];
        if (!isTuple && !explicitParentheses) throw stream.Fail($"Expected an expression, got '{stream.Current.Description}'");
        return new TupleExpression(items, line);
    }

    private bool AtTupleEnd(string? endName) =>
        stream.Current.Kind is TokenKind.VariableEnd or TokenKind.BlockEnd or TokenKind.RightParenthesis || (endName is not null && stream.Current.IsName(endName));

    /// <summary>Parses what <c>set</c>, <c>for</c> and <c>with</c> bind: a name, a tuple of them, or (for <c>set</c>) <c>namespace.attribute</c>.</summary>
    public Expression ParseTarget(NameUse use, string? endName = null, bool withNamespace = false)
    {
        int line = stream.Current.Line;
        Expression target = stream.Nested(() => ParseTupleOf(() => ParsePrimary(withNamespace), endName, explicitParentheses: false));
        return ToTarget(target, use, line);
    }

    private Expression ToTarget(Expression target, NameUse use, int line) => target switch
    {
        NameExpression name => new NameExpression(name.Name, use, name.Line),
        NamespaceTarget => target,
        TupleExpression tuple => new TupleExpression([.. tuple.Items.Select(item => ToTarget(item, use, line))], tuple.Line),
        _ => throw stream.Fail("can't assign to this expression, expected a name", line),
    };

    private ListExpression ParseList()
    {
        int line = stream.Expect(TokenKind.LeftBracket).Line;
        List<Expression> items = [];
        while (stream.Current.Kind != TokenKind.RightBracket)
        {
            items.Add(ParseExpression());
            if (stream.Current.Kind != TokenKind.RightBracket) stream.Expect(TokenKind.Comma);
        }
        stream.Expect(TokenKind.RightBracket);
        return new ListExpression(items, line);
    }

    private DictExpression ParseDict()
    {
        int line = stream.Expect(TokenKind.LeftBrace).Line;
        List<(Expression, Expression)> items = [];
        while (stream.Current.Kind != TokenKind.RightBrace)
        {
            Expression key = ParseExpression();
            stream.Expect(TokenKind.Colon);
            items.Add((key, ParseExpression()));
            if (stream.Current.Kind != TokenKind.RightBrace) stream.Expect(TokenKind.Comma);
        }
        stream.Expect(TokenKind.RightBrace);
        return new DictExpression(items, line);
    }

    private Expression ParsePostfix(Expression node)
    {
        for (int count = 0; ; count++)
        {
            RequireShortChain(count);
            if (stream.Current.Kind == TokenKind.Dot) node = ParseAttribute(node);
            else if (stream.Current.Kind == TokenKind.LeftBracket) node = ParseSubscript(node);
            else if (stream.Current.Kind == TokenKind.LeftParenthesis) node = new CallExpression(node, ParseArguments(), stream.Current.Line);
            else return node;
        }
    }

    private Expression ParseFiltersAndTests(Expression node)
    {
        for (int count = 0; ; count++)
        {
            RequireShortChain(count);
            if (stream.Current.Kind == TokenKind.Pipe) node = ParseFilters(node)!;
            else if (stream.Current.IsName("is")) node = ParseTest(node);
            else if (stream.Current.Kind == TokenKind.LeftParenthesis) node = new CallExpression(node, ParseArguments(), stream.Current.Line);
            else return node;
        }
    }

    // A chain a.b.c… is as deep a tree as nested parentheses are.
    private void RequireShortChain(int count)
    {
        const int maxChain = 500;
        if (count > maxChain) throw TemplateError.Limit($"An expression of the template chains more than {maxChain} attributes, calls or filters (line {stream.Current.Line}).");
    }

    private Expression ParseAttribute(Expression target)
    {
        int line = stream.Next().Line;
        Token name = stream.Next();
        return name.Kind switch
        {
            TokenKind.Name => new AttributeExpression(target, name.Text, line),
            TokenKind.Integer => new ItemExpression(target, new ConstantExpression(name.Value, name.Line), line),
            _ => throw stream.Fail("expected name or number", name.Line),
        };
    }

    private ItemExpression ParseSubscript(Expression target)
    {
        int line = stream.Expect(TokenKind.LeftBracket).Line;
        List<Expression> indexes = [];
        while (stream.Current.Kind != TokenKind.RightBracket)
        {
            if (indexes.Count > 0) stream.Expect(TokenKind.Comma);
            indexes.Add(ParseIndex());
        }
        stream.Expect(TokenKind.RightBracket);
        return new ItemExpression(target, indexes.Count == 1 ? indexes[0] : new TupleExpression(indexes, line), line);
    }

    private Expression ParseIndex()
    {
        int line = stream.Current.Line;
        Expression? start = stream.Current.Kind == TokenKind.Colon ? null : ParseExpression();
        if (start is not null && stream.Current.Kind != TokenKind.Colon) return start;
        stream.Expect(TokenKind.Colon);
        Expression? stop = ParseBound();
        Expression? step = stream.SkipIf(TokenKind.Colon) ? ParseBound() : null;
        return new SliceExpression(start, stop, step, line);
    }

    private Expression? ParseBound() => stream.Current.Kind is TokenKind.Colon or TokenKind.RightBracket or TokenKind.Comma ? null : ParseExpression();

    private ArgumentList ParseArguments()
    {
        int line = stream.Expect(TokenKind.LeftParenthesis).Line;
        List<Expression> positional = [];
        List<(string, Expression)> keywords = [];
        Expression? unpacked = null;
        Expression? unpackedKeywords = null;
        void Ensure(bool allowed)
        {
            if (!allowed) throw stream.Fail("invalid syntax for function call expression", line);
        }
        while (stream.Current.Kind != TokenKind.RightParenthesis)
        {
            if (stream.SkipIf(TokenKind.Multiply))
            {
                Ensure(unpacked is null && unpackedKeywords is null);
                unpacked = ParseExpression();
            }
            else if (stream.SkipIf(TokenKind.Power))
            {
                Ensure(unpackedKeywords is null);
                unpackedKeywords = ParseExpression();
            }
            else if (stream.Current.Kind == TokenKind.Name && stream.Look.Kind == TokenKind.Assign)
            {
                Ensure(unpackedKeywords is null);
                string name = stream.Next().Text;
                stream.Next();
                keywords.Add((name, ParseExpression()));
            }
            else
            {
                Ensure(unpacked is null && unpackedKeywords is null && keywords.Count == 0);
                positional.Add(ParseExpression());
            }
            if (stream.Current.Kind != TokenKind.RightParenthesis) stream.Expect(TokenKind.Comma);
        }
        stream.Expect(TokenKind.RightParenthesis);
        return new ArgumentList(positional, keywords, unpacked, unpackedKeywords);
    }

    private ArgumentList ParseOptionalArguments() => stream.Current.Kind == TokenKind.LeftParenthesis ? ParseArguments() : ArgumentList.Empty;

    /// <summary>Parses <c>| name(…) | name …</c> on <paramref name="operand"/>; returns it when there is no filter.</summary>
    public Expression? ParseFilters(Expression? operand)
    {
        for (int count = 0; stream.SkipIf(TokenKind.Pipe); count++)
        {
            RequireShortChain(count);
            operand = ParseFilter(operand);
        }
        return operand;
    }

    /// <summary>Parses one filter whose <c>|</c> is already behind.</summary>
    public FilterExpression ParseFilter(Expression? operand)
    {
        int line = stream.Current.Line;
        return new FilterExpression(operand, ParseDottedName(), ParseOptionalArguments(), line);
    }

    private string ParseDottedName()
    {
        string name = stream.Expect(TokenKind.Name).Text;
        while (stream.SkipIf(TokenKind.Dot)) name += "." + stream.Expect(TokenKind.Name).Text;
        return name;
    }

    private Expression ParseTest(Expression operand)
    {
        int line = stream.Next().Line;
        bool negated = stream.SkipIfName("not");
        string name = ParseDottedName();
        ArgumentList arguments = ArgumentList.Empty;
        if (stream.Current.Kind == TokenKind.LeftParenthesis)
        {
            arguments = ParseArguments();
        }
        else if (StartsTestArgument(stream.Current))
        {
            if (stream.Current.IsName("is")) throw stream.Fail("You cannot chain multiple tests with is");
            arguments = ArgumentList.Empty with { Positional = [ParsePostfix(ParsePrimary())] };
        }
        Expression test = new TestExpression(operand, name, arguments, line);
        return negated ? new UnaryExpression(UnaryOperator.Not, test, line) : test;
    }

    private static bool StartsTestArgument(Token token) => token.Kind switch
    {
        TokenKind.Name => token.Text is not ("else" or "or" or "and"),
        TokenKind.String or TokenKind.Integer or TokenKind.Float or TokenKind.LeftBracket or TokenKind.LeftBrace => true,
        _ => false,
    };
}
