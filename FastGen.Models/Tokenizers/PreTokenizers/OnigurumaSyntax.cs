using System.Globalization;
using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// Writes an expression of Oniguruma, the library that Hugging Face's tokenizers match with, as one of .NET: possessive quantifiers
/// (<c>a++</c>) as atomic groups, classes inside classes, its wider <c>\w</c>, <c>\h</c> and <c>\x{…}</c>. What .NET would silently read
/// as something else is refused.
/// </summary>
internal sealed class OnigurumaSyntax
{
    private const string WordCharacters = @"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\u24B6-\u24E9";

    // They are word characters to \w alone, not to a class with \w in it.
    private const string WordNumbers = @"\u00B2\u00B3\u00B9\u00BC-\u00BE";
    private const string HexDigits = "0-9A-Fa-f";

    // To whoever ignores case it is a letter s.
    private const string LongS = @"\u017F";

    private static readonly string[] Refused = ["[[:", "[^[:", "&&", @"\K", @"\R", @"\X"];

    private readonly string _expression;
    private readonly StringBuilder _result;
    private readonly Stack<(int Start, bool IgnoresCase)> _groups = new();
    private bool _ignoresCase;

    private OnigurumaSyntax(string expression)
    {
        _expression = expression;
        _result = new StringBuilder(expression.Length);
    }

    /// <summary>The expression as .NET's; throws <see cref="ArgumentException"/> where there is none.</summary>
    public static string ToDotNet(string expression)
    {
        foreach (string foreign in Refused)
        {
            if (expression.Contains(foreign, StringComparison.Ordinal)) throw NoCounterpart(foreign);
        }
        if (expression.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')) throw new ArgumentException("a character beyond the basic plane cannot be matched by a regular expression");
        return new OnigurumaSyntax(expression).Translate();
    }

    private string Translate()
    {
        int atom = 0;
        for (int index = 0; index < _expression.Length;)
        {
            int end = EndOfElement(index);
            char first = _expression[index];
            if (first is '?' or '*' or '+')
            {
                bool possessive = end < _expression.Length && _expression[end] == '+' && _result.Length > atom;
                _result.Append(first);
                if (possessive) _result.Insert(atom, "(?>").Append(')');
                index = possessive ? end + 1 : end;
                continue;
            }
            if (first == '{' && IsUpToQuantifier(_expression.AsSpan(index)))
            {
                _result.Append("{0");
                index = end;
                continue;
            }
            atom = _result.Length;
            ReadOnlySpan<char> element = _expression.AsSpan(index..end);
            if (element is ['(', '?', .., ')'])
            {
                AppendOptions(element);
            }
            else if (first == '(')
            {
                _groups.Push((atom, _ignoresCase));
                AppendOptions(element);
            }
            else if (first == ')' && _groups.Count > 0)
            {
                (atom, _ignoresCase) = _groups.Pop();
                _result.Append(')');
            }
            else
            {
                AppendElement(element);
            }
            index = end;
        }
        return _result.ToString();
    }

    /// <summary>Appends the opening of a group; its option m is .NET's s.</summary>
    private void AppendOptions(ReadOnlySpan<char> opening)
    {
        bool isOptions = opening is ['(', '?', .., ':' or ')'] && !opening[2..^1].ContainsAnyExcept("imx-");
        _result.Append(isOptions ? opening.ToString().Replace('m', 's') : opening);
        if (!isOptions) return;
        int off = opening.IndexOf('-');
        int ignoreCase = opening.IndexOf('i');
        if (ignoreCase >= 0) _ignoresCase = off < 0 || ignoreCase < off;
    }

    private void AppendElement(ReadOnlySpan<char> element)
    {
        switch (element)
        {
            case @"\w":
                _result.Append('[').Append(WordCharacters).Append(WordNumbers).Append(']');
                break;
            case @"\W":
                _result.Append("[^").Append(WordCharacters).Append(WordNumbers).Append(']');
                break;
            case @"\h":
                _result.Append('[').Append(HexDigits).Append(']');
                break;
            case ['\\', 'p' or 'P', ..] when _ignoresCase:
                // Only in a class does Oniguruma ignore the case of properties.
                _result.Append("(?-i:");
                AppendEscape(element);
                _result.Append(')');
                break;
            case ['\\', ..]:
                AppendEscape(element);
                break;
            case ['[', ..]:
                _result.Append('[');
                AppendClass(element[1..^1]);
                _result.Append(']');
                break;
            case "s" or "S" when _ignoresCase:
                _result.Append('[').Append(element).Append(LongS).Append(']');
                break;
            default:
                _result.Append(element);
                break;
        }
    }

    private void AppendEscape(ReadOnlySpan<char> escape)
    {
        switch (escape)
        {
            case ['\\', 'p' or 'P', '{', '^', ..]:
                _result.Append('\\').Append(escape[1] == 'p' ? 'P' : 'p').Append('{').Append(escape[4..]);
                break;
            case ['\\', 'x', '{', .. { Length: >= 1 and <= 4 } digits, '}'] when ushort.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ushort value):
                _result.Append(CultureInfo.InvariantCulture, $"\\u{value:X4}");
                break;
            default:
                _result.Append(escape);
                break;
        }
    }

    /// <summary>Appends what a class holds; a class inside it adds its characters.</summary>
    private void AppendClass(ReadOnlySpan<char> content)
    {
        for (int index = 0; index < content.Length;)
        {
            int end = EndOfElement(content, index);
            ReadOnlySpan<char> element = content[index..end];
            switch (element)
            {
                case @"\w":
                    _result.Append(WordCharacters);
                    break;
                case @"\h":
                    _result.Append(HexDigits);
                    break;
                case @"\W" or @"\H":
                    throw NoCounterpart($"{element} inside a character class");
                case ['\\', ..]:
                    AppendEscape(element);
                    break;
                case ['[', '^', ..]:
                    throw NoCounterpart("a negated class inside a character class");
                case ['[', .., ']']:
                    AppendClass(element[1..^1]);
                    break;
                default:
                    _result.Append(element is "[" ? @"\[" : element);
                    break;
            }
            index = end;
        }
        bool holdsLetterS = content.ContainsAny("sS") || content.IndexOf("a-z", StringComparison.OrdinalIgnoreCase) >= 0;
        if (_ignoresCase && holdsLetterS) _result.Append(LongS);
    }

    /// <summary>True at <c>{,n}</c>, which .NET takes for a text.</summary>
    private static bool IsUpToQuantifier(ReadOnlySpan<char> rest)
    {
        int end = rest.IndexOf('}');
        return end > 2 && rest[1] == ',' && !rest[2..end].ContainsAnyExceptInRange('0', '9');
    }

    private int EndOfElement(int index)
    {
        if (!_expression.AsSpan(index).StartsWith("(?")) return EndOfElement(_expression, index);
        int end = index + 2;
        while (end < _expression.Length && _expression[end] is not (':' or '=' or '!' or '>' or ')')) end++;
        return Math.Min(end + 1, _expression.Length);
    }

    /// <summary>The end of the escape, class or character at <paramref name="index"/>.</summary>
    private static int EndOfElement(ReadOnlySpan<char> text, int index) => text[index] switch
    {
        '\\' => EndOfEscape(text, index),
        '[' => EndOfClass(text, index),
        _ => index + 1,
    };

    private static int EndOfEscape(ReadOnlySpan<char> text, int index)
    {
        ReadOnlySpan<char> rest = text[(index + 1)..];
        if (rest is not ['p' or 'P' or 'x', ..]) return Math.Min(index + 2, text.Length);
        int brace = rest is [_, '{', ..] ? rest.IndexOf('}') : 0;
        return brace < 0 ? text.Length : Math.Min(index + 2 + brace, text.Length);
    }

    private static int EndOfClass(ReadOnlySpan<char> text, int index)
    {
        int end = index + 1;
        if (end < text.Length && text[end] == '^') end++;
        if (end < text.Length && text[end] == ']') end++;
        while (end < text.Length && text[end] != ']') end = EndOfElement(text, end);
        return Math.Min(end + 1, text.Length);
    }

    private static ArgumentException NoCounterpart(string foreign) => new($"'{foreign}' has no counterpart in .NET's regular expressions");
}
