namespace FastGen.Models.Jinja;

/// <summary>Strings as Python indexes them: by code point, where .NET counts UTF-16 units.</summary>
internal static class CodePoints
{
    public static bool HasSurrogates(string text) => text.AsSpan().IndexOfAnyInRange('\ud800', '\udfff') >= 0;

    public static int Count(string text)
    {
        int count = text.Length;
        for (int i = text.AsSpan().IndexOfAnyInRange('\ud800', '\udfff'); i >= 0 && i < text.Length - 1; i++)
        {
            if (char.IsSurrogatePair(text[i], text[i + 1]))
            {
                count--;
                i++;
            }
        }
        return count;
    }

    /// <summary>Each code point as a string of its own.</summary>
    public static IEnumerable<string> Split(string text)
    {
        for (int i = 0; i < text.Length;)
        {
            int length = UnitsAt(text, i);
            yield return text.Substring(i, length);
            i += length;
        }
    }

    /// <summary>UTF-16 position of the code point <paramref name="index"/>, which is in 0..Count.</summary>
    public static int ToUnits(string text, int index)
    {
        if (!HasSurrogates(text)) return index;
        int position = 0;
        for (; index > 0; index--) position += UnitsAt(text, position);
        return position;
    }

    /// <summary>How many code points lie before the UTF-16 position <paramref name="position"/>.</summary>
    public static int FromUnits(string text, int position) => HasSurrogates(text) ? Count(text[..position]) : position;

    public static string Reverse(string text)
    {
        char[] reversed = text.ToCharArray();
        Array.Reverse(reversed);
        for (int i = 0; i < reversed.Length - 1; i++)
        {
            // A pair that is now low before high was one code point.
            if (char.IsLowSurrogate(reversed[i]) && char.IsHighSurrogate(reversed[i + 1]))
            {
                (reversed[i], reversed[i + 1]) = (reversed[i + 1], reversed[i]);
                i++;
            }
        }
        return new string(reversed);
    }

    /// <summary>Orders by code point, as Python does; ordinal order of UTF-16 puts some of the basic plane after the others.</summary>
    public static int Compare(string left, string right)
    {
        int length = Math.Min(left.Length, right.Length);
        for (int i = 0; i < length; i++)
        {
            char a = left[i], b = right[i];
            if (a == b) continue;
            if (char.IsSurrogate(a) != char.IsSurrogate(b)) return char.IsSurrogate(a) ? 1 : -1;
            return a.CompareTo(b);
        }
        return left.Length.CompareTo(right.Length);
    }

    private static int UnitsAt(string text, int position) => position + 1 < text.Length && char.IsSurrogatePair(text[position], text[position + 1]) ? 2 : 1;
}
