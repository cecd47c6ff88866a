using System.Text;

namespace FastGen.Models.Jinja;

internal sealed partial class ExpressionParser
{
    private Expression ParsePrimary(bool withNamespace = false)
    {
        Token token = stream.Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                stream.Next();
                return ParseName(token, withNamespace);
            case TokenKind.String:
                return ParseStrings(token.Line);
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

    /// <summary>Adjacent strings are one.</summary>
    private ConstantExpression ParseStrings(int line)
    {
        StringBuilder text = new();
        while (stream.Current.Kind == TokenKind.String) text.Append(stream.Next().Text);
        return new ConstantExpression(text.ToString(), line);
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
        while (true)
        {
            if (stream.Current.Kind == TokenKind.Dot) node = ParseAttribute(node);
            else if (stream.Current.Kind == TokenKind.LeftBracket) node = ParseSubscript(node);
            else if (stream.Current.Kind == TokenKind.LeftParenthesis) node = new CallExpression(node, ParseArguments(), stream.Current.Line);
            else return node;
        }
    }

    private Expression ParseFiltersAndTests(Expression node)
    {
        while (true)
        {
            if (stream.Current.Kind == TokenKind.Pipe) node = ParseFilters(node)!;
            else if (stream.Current.IsName("is")) node = ParseTest(node);
            else if (stream.Current.Kind == TokenKind.LeftParenthesis) node = new CallExpression(node, ParseArguments(), stream.Current.Line);
            else return node;
        }
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
        HashSet<string> names = [];
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
                if (!names.Add(name)) throw stream.Fail($"keyword argument repeated: {name}", line);
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
        while (stream.SkipIf(TokenKind.Pipe)) operand = ParseFilter(operand);
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
        string first = stream.Expect(TokenKind.Name).Text;
        if (stream.Current.Kind != TokenKind.Dot) return first;
        StringBuilder name = new(first);
        while (stream.SkipIf(TokenKind.Dot)) name.Append('.').Append(stream.Expect(TokenKind.Name).Text);
        return name.ToString();
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
