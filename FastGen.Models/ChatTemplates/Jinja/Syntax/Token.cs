namespace FastGen.Models.Jinja;

internal enum TokenKind
{
    Data, VariableBegin, VariableEnd, BlockBegin, BlockEnd, EndOfTemplate,
    Name, String, Integer, Float,
    Add, Assign, Colon, Comma, Divide, Dot, Equal, FloorDivide, Greater, GreaterOrEqual, LeftBrace, LeftBracket, LeftParenthesis,
    Less, LessOrEqual, Modulo, Multiply, NotEqual, Pipe, Power, RightBrace, RightBracket, RightParenthesis, Semicolon, Subtract, Tilde,
}

/// <summary>A lexical unit. <paramref name="Text"/> is the data, the name or the unescaped string; <paramref name="Value"/> a number's value.</summary>
internal readonly record struct Token(TokenKind Kind, string Text, object? Value, int Line)
{
    public bool IsName(string name) => Kind == TokenKind.Name && Text == name;

    /// <summary>The token in the words of a syntax error.</summary>
    public string Description => Kind == TokenKind.Name ? Text : Describe(Kind);

    public static string Describe(TokenKind kind) => kind switch
    {
        TokenKind.Data => "template data / text",
        TokenKind.VariableBegin => "begin of print statement",
        TokenKind.VariableEnd => "end of print statement",
        TokenKind.BlockBegin => "begin of statement block",
        TokenKind.BlockEnd => "end of statement block",
        TokenKind.EndOfTemplate => "end of template",
        TokenKind.Name => "name",
        TokenKind.String => "string",
        TokenKind.Integer => "integer",
        TokenKind.Float => "float",
        TokenKind.Add => "+",
        TokenKind.Assign => "=",
        TokenKind.Colon => ":",
        TokenKind.Comma => ",",
        TokenKind.Divide => "/",
        TokenKind.Dot => ".",
        TokenKind.Equal => "==",
        TokenKind.FloorDivide => "//",
        TokenKind.Greater => ">",
        TokenKind.GreaterOrEqual => ">=",
        TokenKind.LeftBrace => "{",
        TokenKind.LeftBracket => "[",
        TokenKind.LeftParenthesis => "(",
        TokenKind.Less => "<",
        TokenKind.LessOrEqual => "<=",
        TokenKind.Modulo => "%",
        TokenKind.Multiply => "*",
        TokenKind.NotEqual => "!=",
        TokenKind.Pipe => "|",
        TokenKind.Power => "**",
        TokenKind.RightBrace => "}",
        TokenKind.RightBracket => "]",
        TokenKind.RightParenthesis => ")",
        TokenKind.Semicolon => ";",
        TokenKind.Subtract => "-",
        _ => "~",
    };
}
