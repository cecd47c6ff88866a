namespace FastGen.Models.Jinja;

/// <summary>The parser's view of the tokens: the current one, the next one, and expectations that fail with a line and a name.</summary>
internal sealed class TokenStream(List<Token> tokens)
{
    private const int MaxDepth = 200;
    private int _position;
    private int _depth;

    public Token Current => tokens[_position];

    public Token Look => tokens[Math.Min(_position + 1, tokens.Count - 1)];

    public Token Next()
    {
        Token token = tokens[_position];
        if (_position < tokens.Count - 1) _position++;
        return token;
    }

    public bool SkipIf(TokenKind kind)
    {
        if (Current.Kind != kind) return false;
        Next();
        return true;
    }

    public bool SkipIfName(string name)
    {
        if (!Current.IsName(name)) return false;
        Next();
        return true;
    }

    public Token Expect(TokenKind kind) => Current.Kind == kind ? Next() : throw Unexpected(Token.Describe(kind));

    public Token ExpectName(string name) => Current.IsName(name) ? Next() : throw Unexpected(name);

    private TemplateError Unexpected(string expected) => Fail(Current.Kind == TokenKind.EndOfTemplate
        ? $"unexpected end of template, expected '{expected}'."
        : $"expected token '{expected}', got '{Current.Description}'");

    public TemplateError Fail(string reason, int? line = null) => TemplateError.Syntax(reason, line ?? Current.Line);

    /// <summary>Guards a recursive rule: expressions and blocks nest at most <see cref="MaxDepth"/> deep.</summary>
    public T Nested<T>(Func<T> rule)
    {
        if (++_depth > MaxDepth) throw TemplateError.Limit($"The template nests expressions or blocks more than {MaxDepth} deep (line {Current.Line}).");
        T result = rule();
        _depth--;
        return result;
    }
}
