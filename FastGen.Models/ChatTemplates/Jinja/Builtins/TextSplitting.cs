using System.Buffers;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>Python's ways to cut strings.</summary>
internal static class TextSplitting
{
    /// <summary>Splits at runs of white space. A negative <paramref name="limit"/> is none.</summary>
    public static List<string> AtSpaces(string text, long limit)
    {
        List<string> parts = [];
        int position = 0;
        while (true)
        {
            while (position < text.Length && PythonChar.IsSpace(text[position])) position++;
            if (position == text.Length) return parts;
            if (limit >= 0 && parts.Count == limit)
            {
                parts.Add(text[position..]);
                return parts;
            }
            int start = position;
            while (position < text.Length && !PythonChar.IsSpace(text[position])) position++;
            parts.Add(text[start..position]);
        }
    }

    public static List<string> AtSpacesFromEnd(string text, long limit)
    {
        List<string> parts = [];
        int end = text.Length;
        while (true)
        {
            while (end > 0 && PythonChar.IsSpace(text[end - 1])) end--;
            if (end == 0) break;
            if (limit >= 0 && parts.Count == limit)
            {
                parts.Add(text[..end]);
                break;
            }
            int stop = end;
            while (end > 0 && !PythonChar.IsSpace(text[end - 1])) end--;
            parts.Add(text[end..stop]);
        }
        parts.Reverse();
        return parts;
    }

    public static List<string> At(string text, string separator, long limit)
    {
        if (separator.Length == 0) throw TemplateError.Value("empty separator");
        List<string> parts = [];
        int start = 0;
        for (int at; (limit < 0 || parts.Count < limit) && (at = text.IndexOf(separator, start, StringComparison.Ordinal)) >= 0; start = at + separator.Length) parts.Add(text[start..at]);
        parts.Add(text[start..]);
        return parts;
    }

    public static List<string> AtFromEnd(string text, string separator, long limit)
    {
        if (separator.Length == 0) throw TemplateError.Value("empty separator");
        List<string> parts = [];
        int end = text.Length;
        while (limit < 0 || parts.Count < limit)
        {
            int at = text.AsSpan(0, end).LastIndexOf(separator, StringComparison.Ordinal);
            if (at < 0) break;
            parts.Add(text[(at + separator.Length)..end]);
            end = at;
        }
        parts.Add(text[..end]);
        parts.Reverse();
        return parts;
    }

    public static List<string> AtLineBreaks(string text, bool keepEnds)
    {
        List<string> lines = [];
        for (int start = 0; start < text.Length;)
        {
            int end = start;
            while (end < text.Length && !PythonChar.IsLineBreak(text[end])) end++;
            int next = end == text.Length ? end : text[end] == '\r' && end + 1 < text.Length && text[end + 1] == '\n' ? end + 2 : end + 1;
            lines.Add(text[start..(keepEnds ? next : end)]);
            start = next;
        }
        return lines;
    }

    /// <summary>Strips the characters of <paramref name="characters"/>, or white space when it is null.</summary>
    public static string Strip(string text, string? characters, bool left, bool right)
    {
        if (characters is null)
        {
            if (right) text = PythonChar.TrimEnd(text);
            return left ? PythonChar.TrimStart(text) : text;
        }
        HashSet<Rune> set = [.. characters.EnumerateRunes()];
        ReadOnlySpan<char> rest = text;
        while (left && Rune.DecodeFromUtf16(rest, out Rune first, out int length) == OperationStatus.Done && set.Contains(first)) rest = rest[length..];
        while (right && Rune.DecodeLastFromUtf16(rest, out Rune last, out int length) == OperationStatus.Done && set.Contains(last)) rest = rest[..^length];
        return rest.Length == text.Length ? text : rest.ToString();
    }

    /// <summary>Replaces the first <paramref name="limit"/> occurrences (all when negative). An empty <paramref name="old"/> matches between characters.</summary>
    public static string Replace(string text, string old, string @new, long limit, RenderBudget budget)
    {
        budget.Search(text, old);
        List<string> parts = old.Length > 0 ? At(text, old, limit) : BetweenCharacters(text, limit);
        budget.Text(text.Length + (long)(parts.Count - 1) * @new.Length);
        return string.Join(@new, parts);
    }

    private static List<string> BetweenCharacters(string text, long limit)
    {
        List<string> parts = [""];
        string[] characters = [.. CodePoints.Split(text)];
        if (limit == 0) return [text];
        int cuts = (int)Math.Min(limit < 0 ? long.MaxValue : limit - 1, characters.Length);
        parts.AddRange(characters.Take(cuts));
        if (limit < 0 || limit > characters.Length) parts.Add("");
        else parts.Add(string.Concat(characters.Skip(cuts)));
        return parts;
    }
}
