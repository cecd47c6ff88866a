using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>Oniguruma's possessive quantifiers (<c>a++</c>, <c>a?+</c>, <c>a*+</c>) as .NET's atomic groups (<c>(?>a+)</c>).</summary>
internal static class PossessiveQuantifiers
{
    /// <summary>The expression without possessive quantifiers.</summary>
    public static string ToAtomicGroups(string expression)
    {
        if (!expression.Contains('+', StringComparison.Ordinal)) return expression;
        StringBuilder result = new(expression.Length);
        Stack<int> groups = new();
        int atom = 0;
        for (int index = 0; index < expression.Length;)
        {
            int end = EndOfElement(expression, index);
            char element = expression[index];
            bool possessive = element is '?' or '*' or '+' && end < expression.Length && expression[end] == '+' && result.Length > atom;
            if (element is '?' or '*' or '+')
            {
                result.Append(element);
                if (possessive) result.Insert(atom, "(?>").Append(')');
                index = possessive ? end + 1 : end;
                continue;
            }
            if (element == '(') groups.Push(result.Length);
            atom = element == ')' && groups.Count > 0 ? groups.Pop() : result.Length;
            result.Append(expression, index, end - index);
            index = end;
        }
        return result.ToString();
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
