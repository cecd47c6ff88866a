namespace FastGen.Models.Jinja;

/// <summary>Parses a whole template: text, output and the tags that chat templates use.</summary>
internal sealed class StatementParser
{
    private readonly TokenStream _stream;
    private readonly ExpressionParser _expressions;

    // The tags that are open, and what would close each, for the message about a tag that does not fit.
    private readonly Stack<(string Tag, string[] Ends)> _open = new();

    private StatementParser(TokenStream stream)
    {
        _stream = stream;
        _expressions = new ExpressionParser(stream);
    }

    public static IReadOnlyList<Statement> Parse(string template) => new StatementParser(new TokenStream(Lexer.Tokenize(template))).ParseUntil([]);

    private List<Statement> ParseUntil(string[] ends)
    {
        List<Statement> body = [];
        while (_stream.Current.Kind != TokenKind.EndOfTemplate)
        {
            Token token = _stream.Next();
            if (token.Kind == TokenKind.Data)
            {
                body.Add(new DataStatement(token.Text, token.Line));
            }
            else if (token.Kind == TokenKind.VariableBegin)
            {
                body.Add(new OutputStatement(_expressions.ParseTuple(), token.Line));
                _stream.Expect(TokenKind.VariableEnd);
            }
            else
            {
                if (_stream.Current.Kind == TokenKind.Name && ends.Contains(_stream.Current.Text)) return body;
                body.AddRange(_stream.Nested(ParseTag));
                _stream.Expect(TokenKind.BlockEnd);
            }
        }
        if (ends.Length > 0) throw _stream.Fail($"Unexpected end of template. {Expected()}");
        return body;
    }

    private string Expected() =>
        $"Jinja was looking for the following tags: {string.Join(" or ", _open.Peek().Ends.Select(end => $"'{end}'"))}. The innermost block that needs to be closed is '{_open.Peek().Tag}'.";

    private IEnumerable<Statement> ParseTag()
    {
        Token tag = _stream.Current;
        if (tag.Kind != TokenKind.Name) throw _stream.Fail("tag name expected", tag.Line);
        _stream.Next();
        return tag.Text switch
        {
            "set" => [ParseSet(tag)],
            "if" => [ParseIf(tag)],
            "for" => [ParseFor(tag)],
            "macro" => [ParseMacro(tag)],
            "call" => [ParseCall(tag)],
            "filter" => [ParseFilterBlock(tag)],
            "with" => [ParseWith(tag)],
            "print" => ParsePrint(tag),
            "generation" => [new GenerationStatement(new MacroDefinition(null, [], [], ParseBody(tag, "endgeneration")), tag.Line)],
            "break" => [new BreakStatement(tag.Line)],
            "continue" => [new ContinueStatement(tag.Line)],
            "include" or "import" or "from" or "extends" or "block" or "autoescape" => throw _stream.Fail(
                $"The tag '{tag.Text}' is not supported in a chat template: a template must stand alone. Put the text where the tag is.", tag.Line),
            _ => throw UnknownTag(tag),
        };
    }

    private TemplateError UnknownTag(Token tag)
    {
        string message = $"Encountered unknown tag '{tag.Text}'.";
        return _stream.Fail(_open.Count == 0 ? message : $"{message} {Expected()}", tag.Line);
    }

    /// <summary>Parses the body of a tag up to one of its ends, and leaves the stream behind the end's name.</summary>
    private List<Statement> ParseBody(Token tag, out string end, params string[] ends)
    {
        _stream.SkipIf(TokenKind.Colon);
        _stream.Expect(TokenKind.BlockEnd);
        _open.Push((tag.Text, ends));
        List<Statement> body = ParseUntil(ends);
        _open.Pop();
        end = _stream.Next().Text;
        return body;
    }

    private List<Statement> ParseBody(Token tag, string end) => ParseBody(tag, out _, end);

    private Statement ParseSet(Token tag)
    {
        Expression target = _expressions.ParseTarget(NameUse.Store, withNamespace: true);
        if (_stream.SkipIf(TokenKind.Assign)) return new SetStatement(target, _expressions.ParseTuple(), tag.Line);
        FilterExpression? filter = (FilterExpression?)_expressions.ParseFilters(null);
        return new SetBlockStatement(target, filter, ParseBody(tag, "endset"), tag.Line);
    }

    private IfStatement ParseIf(Token tag)
    {
        List<(Expression, IReadOnlyList<Statement>)> branches = [];
        IReadOnlyList<Statement> otherwise = [];
        for (string end = "elif"; end == "elif";)
        {
            Expression test = _expressions.ParseTuple(withConditional: false);
            branches.Add((test, ParseBody(tag, out end, "elif", "else", "endif")));
            if (end == "else") otherwise = ParseBody(tag, "endif");
        }
        return new IfStatement(branches, otherwise, tag.Line);
    }

    private ForStatement ParseFor(Token tag)
    {
        Expression target = _expressions.ParseTarget(NameUse.Parameter, endName: "in");
        _stream.ExpectName("in");
        Expression iterable = _expressions.ParseTuple(withConditional: false, endName: "recursive");
        Expression? filter = _stream.SkipIfName("if") ? _expressions.ParseExpression() : null;
        bool recursive = _stream.SkipIfName("recursive");
        List<Statement> body = ParseBody(tag, out string end, "endfor", "else");
        IReadOnlyList<Statement> otherwise = end == "else" ? ParseBody(tag, "endfor") : [];
        return new ForStatement(target, iterable, filter, recursive, body, otherwise, tag.Line);
    }

    private MacroStatement ParseMacro(Token tag)
    {
        Token name = _stream.Expect(TokenKind.Name);
        (List<NameExpression> parameters, List<Expression> defaults) = ParseSignature();
        MacroDefinition definition = new(name.Text, parameters, defaults, ParseBody(tag, "endmacro"));
        return new MacroStatement(new NameExpression(name.Text, NameUse.Store, name.Line), definition, tag.Line);
    }

    private CallBlockStatement ParseCall(Token tag)
    {
        (List<NameExpression> parameters, List<Expression> defaults) = _stream.Current.Kind == TokenKind.LeftParenthesis ? ParseSignature() : ([], []);
        if (_expressions.ParseExpression() is not CallExpression call) throw _stream.Fail("expected call", tag.Line);
        return new CallBlockStatement(call, new MacroDefinition(null, parameters, defaults, ParseBody(tag, "endcall")), tag.Line);
    }

    private (List<NameExpression> Parameters, List<Expression> Defaults) ParseSignature()
    {
        List<NameExpression> parameters = [];
        List<Expression> defaults = [];
        HashSet<string> names = [];
        _stream.Expect(TokenKind.LeftParenthesis);
        while (_stream.Current.Kind != TokenKind.RightParenthesis)
        {
            if (parameters.Count > 0) _stream.Expect(TokenKind.Comma);
            Token name = _stream.Expect(TokenKind.Name);
            if (!names.Add(name.Text)) throw _stream.Fail($"duplicate argument '{name.Text}' in function definition", name.Line);
            parameters.Add(new NameExpression(name.Text, NameUse.Parameter, name.Line));
            if (_stream.SkipIf(TokenKind.Assign)) defaults.Add(_expressions.ParseExpression());
            else if (defaults.Count > 0) throw _stream.Fail("non-default argument follows default argument");
        }
        _stream.Expect(TokenKind.RightParenthesis);
        return (parameters, defaults);
    }

    private FilterBlockStatement ParseFilterBlock(Token tag)
    {
        FilterExpression filter = (FilterExpression)_expressions.ParseFilters(_expressions.ParseFilter(null))!;
        return new FilterBlockStatement(filter, ParseBody(tag, "endfilter"), tag.Line);
    }

    private WithStatement ParseWith(Token tag)
    {
        List<(Expression, Expression)> bindings = [];
        while (_stream.Current.Kind != TokenKind.BlockEnd)
        {
            if (bindings.Count > 0) _stream.Expect(TokenKind.Comma);
            Expression target = _expressions.ParseTarget(NameUse.Parameter);
            _stream.Expect(TokenKind.Assign);
            bindings.Add((target, _expressions.ParseExpression()));
        }
        return new WithStatement(bindings, ParseBody(tag, "endwith"), tag.Line);
    }

    private List<Statement> ParsePrint(Token tag)
    {
        List<Statement> outputs = [];
        while (_stream.Current.Kind != TokenKind.BlockEnd)
        {
            if (outputs.Count > 0) _stream.Expect(TokenKind.Comma);
            outputs.Add(new OutputStatement(_expressions.ParseExpression(), tag.Line));
        }
        return outputs;
    }
}
