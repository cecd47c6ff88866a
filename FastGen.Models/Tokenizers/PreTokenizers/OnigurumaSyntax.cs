using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// Writes an expression of Oniguruma, the library that Hugging Face's tokenizers match with, as one of .NET: possessive quantifiers
/// (<c>a++</c>) as atomic groups, its wider <c>\w</c>, and <c>\h</c>. What .NET would silently read as something else is refused.
/// </summary>
internal static class OnigurumaSyntax
{
    private const string WordCharacters = @"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\u00B2\u00B3\u00B9\u00BC-\u00BE\u24B6-\u24E9";
    private const string HexDigits = "0-9A-Fa-f";

    private static readonly string[] Refused = ["[[:", "[^[:", "&&", @"\K", @"\R", @"\X"];

    /// <summary>The expression as .NET's; throws <see cref="ArgumentException"/> where there is none.</summary>
    public static string ToDotNet(string expression)
    {
        foreach (string foreign in Refused)
        {
            if (expression.Contains(foreign, StringComparison.Ordinal)) throw new ArgumentException($"'{foreign}' has no counterpart in .NET's regular expressions");
        }
        StringBuilder result = new(expression.Length);
        Stack<int> groups = new();
        int atom = 0;
        for (int index = 0; index < expression.Length;)
        {
            int end = EndOfElement(expression, index);
            char element = expression[index];
            if (element is '?' or '*' or '+')
            {
                bool possessive = end < expression.Length && expression[end] == '+' && result.Length > atom;
                result.Append(element);
                if (possessive) result.Insert(atom, "(?>").Append(')');
                index = possessive ? end + 1 : end;
                continue;
            }
            if (element == '(') groups.Push(result.Length);
            atom = element == ')' && groups.Count > 0 ? groups.Pop() : result.Length;
            AppendElement(result, expression[index..end]);
            index = end;
        }
        return result.ToString();
    }

    private static void AppendElement(StringBuilder result, string element)
    {
        switch (element)
        {
            case @"\w":
                result.Append('[').Append(WordCharacters).Append(']');
                break;
            case @"\W":
                result.Append("[^").Append(WordCharacters).Append(']');
                break;
            case @"\h":
                result.Append('[').Append(HexDigits).Append(']');
                break;
            case ['[', ..]:
                AppendClass(result, element);
                break;
            default:
                result.Append(element);
                break;
        }
    }

    private static void AppendClass(StringBuilder result, string element)
    {
        for (int index = 0; index < element.Length; index++)
        {
            if (element[index] != '\\' || index + 1 == element.Length)
            {
                result.Append(element[index]);
                continue;
            }
            index++;
            switch (element[index])
            {
                case 'w':
                    result.Append(WordCharacters);
                    break;
                case 'h':
                    result.Append(HexDigits);
                    break;
                case 'W' or 'H':
                    throw new ArgumentException($"'\\{element[index]}' inside a character class has no counterpart in .NET's regular expressions");
                default:
                    result.Append('\\').Append(element[index]);
                    break;
            }
        }
    }

    /// <summary>The end of the escape, class, group opening or character at <paramref name="index"/>.</summary>
    private static int EndOfElement(string expression, int index)
    {
        switch (expression[index])
        {
            case '\\' when index + 2 < expression.Length && expression[index + 1] is 'p' or 'P' && expression[index + 2] == '{':
                int brace = expression.IndexOf('}', index);
                return brace < 0 ? expression.Length : brace + 1;
            case '\\':
                return Math.Min(index + 2, expression.Length);
            case '[':
                return EndOfClass(expression, index);
            case '(' when index + 1 < expression.Length && expression[index + 1] == '?':
                int end = index + 2;
                while (end < expression.Length && expression[end] is not (':' or '=' or '!' or '>' or ')')) end++;
                return Math.Min(end + 1, expression.Length);
            default:
                return index + 1;
        }
    }

    private static int EndOfClass(string expression, int index)
    {
        int end = index + 1;
        if (end < expression.Length && expression[end] == '^') end++;
        if (end < expression.Length && expression[end] == ']') end++;
        while (end < expression.Length && expression[end] != ']') end += expression[end] == '\\' ? 2 : 1;
        return Math.Min(end + 1, expression.Length);
    }
}
