using System.Globalization;
using System.Numerics;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>Reads the tokens between the delimiters of one tag.</summary>
internal sealed class TagLexer(string source, List<Token> tokens)
{
    private static readonly Dictionary<string, TokenKind> Operators = Enum.GetValues<TokenKind>()
        .Where(kind => kind >= TokenKind.Add)
        .ToDictionary(Token.Describe);

    private readonly Stack<char> _closers = new();
    private int _position;
    private int _line;

    /// <summary>Reads up to the end of the tag. Returns the position behind it, the sign before its delimiter ('-', '+' or NUL) and the line.</summary>
    public (int End, char Sign, int Line) Read(int position, int line, bool variable)
    {
        _position = position;
        _line = line;
        _closers.Clear();
        while (true)
        {
            if (_closers.Count == 0 && AtEnd(variable) is (int end, char sign)) return (end, sign, _line);
            if (_position >= source.Length)
            {
                string expected = _closers.Count > 0 ? _closers.Peek().ToString() : variable ? "end of print statement" : "end of statement block";
                throw TemplateError.Syntax($"unexpected end of template, expected '{expected}'.", _line);
            }
            ReadToken();
        }
    }

    private (int End, char Sign)? AtEnd(bool variable)
    {
        ReadOnlySpan<char> rest = source.AsSpan(_position);
        string delimiter = variable ? "}}" : "%}";
        if (rest.StartsWith(delimiter, StringComparison.Ordinal)) return (_position + 2, '\0');
        if (rest.Length < 3 || !rest[1..].StartsWith(delimiter, StringComparison.Ordinal)) return null;
        if (rest[0] == '-' || (rest[0] == '+' && !variable)) return (_position + 3, rest[0]);
        return null;
    }

    private void ReadToken()
    {
        char current = source[_position];
        if (PythonChar.IsSpace(current))
        {
            if (current == '\n') _line++;
            _position++;
        }
        else if (char.IsAsciiDigit(current))
        {
            ReadNumber();
        }
        else if (PythonChar.IsIdentifierPart(source, _position))
        {
            ReadName();
        }
        else if (current is '\'' or '"')
        {
            ReadString(current);
        }
        else
        {
            ReadOperator();
        }
    }

    private void Add(TokenKind kind, string text, object? value = null) => tokens.Add(new Token(kind, text, value, _line));

    private void ReadName()
    {
        int start = _position;
        while (_position < source.Length && PythonChar.IsIdentifierPart(source, _position)) _position += char.IsSurrogatePair(source, _position) ? 2 : 1;
        Add(TokenKind.Name, source[start.._position]);
    }

    private void ReadNumber()
    {
        int start = _position;
        char radix = _position + 1 < source.Length && source[_position] == '0' ? char.ToLowerInvariant(source[_position + 1]) : '\0';
        if (radix is 'x' or 'o' or 'b' && _position + 2 < source.Length && char.IsAsciiHexDigit(source[_position + 2]))
        {
            ReadRadixInteger(radix);
            return;
        }
        SkipDigits();
        bool isFloat = false;
        bool afterDot = start > 0 && source[start - 1] == '.';
        if (!afterDot && _position + 1 < source.Length && source[_position] == '.' && char.IsAsciiDigit(source[_position + 1]))
        {
            _position++;
            SkipDigits();
            isFloat = true;
        }
        if (!afterDot && SkipExponent()) isFloat = true;
        // A zero begins no other integer.
        if (!isFloat && source.AsSpan(start, _position - start).IndexOfAnyExcept('0', '_') is int other and > 0 && source[start] == '0') _position = start + other;
        string digits = source[start.._position].Replace("_", "", StringComparison.Ordinal);
        if (isFloat) Add(TokenKind.Float, digits, double.Parse(digits, NumberStyles.Float, CultureInfo.InvariantCulture));
        else Add(TokenKind.Integer, digits, ParseInteger(digits));
    }

    private void ReadRadixInteger(char radix)
    {
        _position += 2;
        int bits = radix == 'x' ? 4 : radix == 'o' ? 3 : 1;
        BigInteger value = 0;
        for (int count = 0; _position < source.Length; _position++)
        {
            if (source[_position] == '_') continue;
            if (!char.IsAsciiHexDigit(source[_position])) break;
            int digit = Convert.ToInt32(source[_position].ToString(), 16);
            if (digit >= 1 << bits) break;
            if (++count > PythonNumber.MaxDigits) throw TemplateError.Syntax($"An integer literal has more than {PythonNumber.MaxDigits} digits.", _line);
            value = (value << bits) | digit;
        }
        Add(TokenKind.Integer, "", PythonNumber.Normalize(value));
    }

    private object ParseInteger(string digits)
    {
        if (digits.Length > PythonNumber.MaxDigits) throw TemplateError.Syntax($"An integer literal has more than {PythonNumber.MaxDigits} digits.", _line);
        return PythonNumber.Normalize(BigInteger.Parse(digits, CultureInfo.InvariantCulture));
    }

    private void SkipDigits()
    {
        while (_position < source.Length && (char.IsAsciiDigit(source[_position]) || (source[_position] == '_' && _position + 1 < source.Length && char.IsAsciiDigit(source[_position + 1])))) _position++;
    }

    private bool SkipExponent()
    {
        int at = _position;
        if (at >= source.Length || source[at] is not ('e' or 'E')) return false;
        at++;
        if (at < source.Length && source[at] is '+' or '-') at++;
        if (at >= source.Length || !char.IsAsciiDigit(source[at])) return false;
        _position = at;
        SkipDigits();
        return true;
    }

    private void ReadString(char quote)
    {
        int start = _position + 1;
        int end = start;
        while (end < source.Length && source[end] != quote) end += source[end] == '\\' ? 2 : 1;
        if (end >= source.Length) throw TemplateError.Syntax($"A string is not closed: expected {quote}.", _line);
        string body = source[start..end];
        Add(TokenKind.String, Unescape(body));
        _line += body.AsSpan().Count('\n');
        _position = end + 1;
    }

    private string Unescape(string body)
    {
        if (!body.Contains('\\')) return body;
        StringBuilder text = new(body.Length);
        for (int i = 0; i < body.Length; i++)
        {
            if (body[i] != '\\')
            {
                text.Append(body[i]);
                continue;
            }
            char escape = body[++i];
            if (escape is 'x' or 'u' or 'U') i = UnescapeHex(body, i, text);
            else if (escape is >= '0' and <= '7') i = UnescapeOctal(body, i, text);
            else if (escape == '\n') continue;
            else if ("\\'\"abfnrtv".IndexOf(escape, StringComparison.Ordinal) is int known and >= 0) text.Append("\\'\"\a\b\f\n\r\t\v"[known]);
            else if (char.IsAscii(escape)) text.Append('\\').Append(escape);
            else i = AppendNotAscii(body, i, text);
        }
        return text.ToString();
    }

    private int UnescapeHex(string body, int at, StringBuilder text)
    {
        int length = body[at] == 'x' ? 2 : body[at] == 'u' ? 4 : 8;
        ReadOnlySpan<char> digits = body.AsSpan(at + 1, Math.Min(length, body.Length - at - 1));
        if (digits.Length < length || !uint.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint code) || code > 0x10FFFF)
        {
            throw TemplateError.Syntax($"The escape '\\{body[at]}{digits}' in a string needs {length} hexadecimal digits of a Unicode character.", _line);
        }
        if (code < 0x10000) text.Append((char)code);
        else text.Append(char.ConvertFromUtf32((int)code));
        return at + length;
    }

    // Jinja writes these as escapes before it resolves escapes, so that the backslash ends up before the escape's own.
    private static int AppendNotAscii(string body, int at, StringBuilder text)
    {
        if (!Rune.TryGetRuneAt(body, at, out Rune rune))
        {
            text.Append('\\').Append(body[at]);
            return at;
        }
        PythonText.WriteEscape(text, rune);
        return at + rune.Utf16SequenceLength - 1;
    }

    private static int UnescapeOctal(string body, int at, StringBuilder text)
    {
        int code = 0;
        int end = at;
        while (end < body.Length && end < at + 3 && body[end] is >= '0' and <= '7') code = code * 8 + (body[end++] - '0');
        text.Append((char)code);
        return end - 1;
    }

    private void ReadOperator()
    {
        (TokenKind Kind, int Length) match = Operator(source.AsSpan(_position));
        char first = source[_position];
        if (match.Length == 0) throw TemplateError.Syntax($"unexpected char '{first}' at {_position}", _line);
        if (first is '(' or '[' or '{')
        {
            _closers.Push(first == '(' ? ')' : first == '[' ? ']' : '}');
        }
        else if (first is ')' or ']' or '}')
        {
            if (!_closers.TryPop(out char expected)) throw TemplateError.Syntax($"unexpected '{first}'", _line);
            if (expected != first) throw TemplateError.Syntax($"unexpected '{first}', expected '{expected}'", _line);
        }
        Add(match.Kind, source.Substring(_position, match.Length));
        _position += match.Length;
    }

    private static (TokenKind Kind, int Length) Operator(ReadOnlySpan<char> rest)
    {
        if (rest.Length > 1 && Operators.TryGetValue(rest[..2].ToString(), out TokenKind kind)) return (kind, 2);
        return Operators.TryGetValue(rest[0].ToString(), out kind) ? (kind, 1) : (TokenKind.EndOfTemplate, 0);
    }
}
