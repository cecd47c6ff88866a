namespace FastGen.Models.Jinja;

/// <summary>
/// Cuts a template into tokens with Jinja's default delimiters, <c>trim_blocks</c> and <c>lstrip_blocks</c>:
/// a block or comment tag swallows the newline that follows it and the indentation before it.
/// </summary>
internal sealed class Lexer
{
    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private readonly TagLexer _tag;
    private int _position;
    private int _line = 1;

    // True at the start of the template and after a match that ended in a newline.
    private bool _lineStarting = true;

    // Lines of the white space that a '-' stripped before a tag.
    private int _pendingLines;

    private Lexer(string source)
    {
        _source = source;
        _tag = new TagLexer(source, _tokens);
    }

    public static List<Token> Tokenize(string template)
    {
        string source = template.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        if (source.EndsWith('\n')) source = source[..^1];
        Lexer lexer = new(source);
        lexer.ReadTemplate();
        return lexer._tokens;
    }

    private void ReadTemplate()
    {
        while (_position < _source.Length)
        {
            int tag = NextTag(_position);
            if (tag < 0)
            {
                AddData(_source[_position..]);
                break;
            }
            char kind = _source[tag + 1];
            int afterSign = tag + 2;
            char sign = afterSign < _source.Length && _source[afterSign] is '-' or '+' ? _source[afterSign++] : '\0';
            AddData(Strip(_source[_position..tag], sign, lstrip: kind != '{'));
            _position = afterSign;
            if (kind == '#') ReadComment();
            else if (kind == '%' && RawStart(afterSign) is int raw and >= 0) ReadRaw(raw);
            else ReadTag(kind == '{');
        }
        _tokens.Add(new Token(TokenKind.EndOfTemplate, "", null, _line));
    }

    private int NextTag(int from)
    {
        for (int brace = _source.IndexOf('{', from); brace >= 0 && brace + 1 < _source.Length; brace = _source.IndexOf('{', brace + 1))
        {
            if (_source[brace + 1] is '{' or '%' or '#') return brace;
        }
        return -1;
    }

    /// <summary>What is left of the text before a tag whose whitespace sign is <paramref name="sign"/>.</summary>
    private string Strip(string text, char sign, bool lstrip)
    {
        if (sign == '-')
        {
            string kept = PythonChar.TrimEnd(text);
            _pendingLines = CountLines(text) - CountLines(kept);
            return kept;
        }
        if (sign == '+' || !lstrip) return text;
        int lineStart = text.LastIndexOf('\n') + 1;
        bool indentOnly = (lineStart > 0 || _lineStarting) && PythonChar.IsSpace(text.AsSpan(lineStart));
        return indentOnly ? text[..lineStart] : text;
    }

    private void AddData(string text)
    {
        if (text.Length > 0) _tokens.Add(new Token(TokenKind.Data, text, null, _line));
        _line += CountLines(text) + _pendingLines;
        _pendingLines = 0;
    }

    private void ReadComment()
    {
        int end = _source.IndexOf("#}", _position, StringComparison.Ordinal);

        // As in Jinja: an empty rest needs no end.
        if (end < 0 && _position == _source.Length) return;
        if (end < 0) throw TemplateError.Syntax("Missing end of comment tag: expected '#}'.", _line);
        char sign = end > _position && _source[end - 1] is '-' or '+' ? _source[end - 1] : '\0';
        CloseTag(end + 2, sign, trimNewline: true, from: _position);
    }

    private void ReadTag(bool variable)
    {
        _tokens.Add(new Token(variable ? TokenKind.VariableBegin : TokenKind.BlockBegin, "", null, _line));
        (int end, char sign, int line) = _tag.Read(_position, _line, variable);
        _line = line;
        _tokens.Add(new Token(variable ? TokenKind.VariableEnd : TokenKind.BlockEnd, "", null, _line));
        CloseTag(end, sign, trimNewline: !variable, from: end);
    }

    /// <summary>Moves behind a tag that ends at <paramref name="end"/>, and behind the white space that its sign swallows.</summary>
    private void CloseTag(int end, char sign, bool trimNewline, int from)
    {
        int next = end;
        if (sign == '-') while (next < _source.Length && PythonChar.IsSpace(_source[next])) next++;
        else if (sign != '+' && trimNewline && next < _source.Length && _source[next] == '\n') next++;
        _line += CountLines(_source.AsSpan(from, next - from));
        _lineStarting = _source[next - 1] == '\n';
        _position = next;
    }

    /// <summary>The position behind the word "raw" and its closing <c>%}</c>, or -1 if the tag is another one.</summary>
    private int RawStart(int position)
    {
        int at = SkipSpace(position);
        if (!_source.AsSpan(at).StartsWith("raw", StringComparison.Ordinal)) return -1;
        at = SkipSpace(at + 3);
        if (_source.AsSpan(at).StartsWith("-%}", StringComparison.Ordinal)) return SkipSpace(at + 3);
        return _source.AsSpan(at).StartsWith("%}", StringComparison.Ordinal) ? at + 2 : -1;
    }

    private void ReadRaw(int bodyStart)
    {
        _line += CountLines(_source.AsSpan(_position, bodyStart - _position));
        _lineStarting = _source[bodyStart - 1] == '\n';
        for (int tag = _source.IndexOf("{%", bodyStart, StringComparison.Ordinal); tag >= 0; tag = _source.IndexOf("{%", tag + 2, StringComparison.Ordinal))
        {
            int at = tag + 2;
            char openSign = at < _source.Length && _source[at] is '-' or '+' ? _source[at++] : '\0';
            at = SkipSpace(at);
            if (!_source.AsSpan(at).StartsWith("endraw", StringComparison.Ordinal)) continue;
            at = SkipSpace(at + 6);
            char closeSign = at < _source.Length && _source[at] is '-' or '+' ? _source[at++] : '\0';
            if (!_source.AsSpan(at).StartsWith("%}", StringComparison.Ordinal)) continue;
            AddData(Strip(_source[bodyStart..tag], openSign, lstrip: true));
            CloseTag(at + 2, closeSign, trimNewline: true, from: tag);
            return;
        }
        _position = bodyStart;
        if (bodyStart < _source.Length) throw TemplateError.Syntax("Missing end of raw directive: expected '{% endraw %}'.", _line);
    }

    private int SkipSpace(int position)
    {
        while (position < _source.Length && PythonChar.IsSpace(_source[position])) position++;
        return position;
    }

    private static int CountLines(ReadOnlySpan<char> text) => text.Count('\n');
}
