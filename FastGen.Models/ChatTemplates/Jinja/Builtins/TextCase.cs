using System.Globalization;
using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>Python's changes of case. Where one character becomes several (ß → SS), .NET's mapping has to be helped.</summary>
internal static class TextCase
{
    private static readonly Dictionary<char, string> LongUpper = new()
    {
        ['ß'] = "SS",
        ['ŉ'] = "ʼN",
        ['ǰ'] = "J̌",
        ['և'] = "ԵՒ",
        ['ﬀ'] = "FF",
        ['ﬁ'] = "FI",
        ['ﬂ'] = "FL",
        ['ﬃ'] = "FFI",
        ['ﬄ'] = "FFL",
        ['ﬅ'] = "ST",
        ['ﬆ'] = "ST",
    };

    public static string Upper(string text)
    {
        string upper = text.ToUpperInvariant();
        if (!upper.Any(LongUpper.ContainsKey)) return upper;
        return string.Concat(upper.Select(character => LongUpper.TryGetValue(character, out string? mapped) ? mapped : character.ToString()));
    }

    public static string Lower(string text)
    {
        StringBuilder lower = new(text.ToLowerInvariant());
        lower.Replace("İ", "i̇");
        for (int i = text.IndexOf('Σ', StringComparison.Ordinal); i >= 0 && lower.Length == text.Length; i = text.IndexOf('Σ', i + 1))
        {
            bool final = i > 0 && char.IsLetter(text[i - 1]) && (i + 1 == text.Length || !char.IsLetter(text[i + 1]));
            if (final) lower[i] = 'ς';
        }
        return lower.ToString();
    }

    public static string Capitalize(string text)
    {
        if (text.Length == 0) return text;
        int first = text.Length > 1 && char.IsSurrogatePair(text, 0) ? 2 : 1;
        return TitleCharacter(text[..first]) + Lower(text[first..]);
    }

    /// <summary>A capital at the start of each run of letters.</summary>
    public static string Title(string text)
    {
        StringBuilder title = new(text.Length);
        int position = 0;
        string lower = Lower(text);
        bool inWord = false;
        foreach (string character in CodePoints.Split(text))
        {
            // The lower case of a whole text knows where its words end.
            string inner = lower.Length == text.Length ? lower.Substring(position, character.Length) : Lower(character);
            position += character.Length;
            title.Append(inWord ? inner : TitleCharacter(character));
            inWord = Rune.TryGetRuneAt(character, 0, out Rune rune) && PythonChar.IsCased(rune);
        }
        return title.ToString();
    }

    public static string Swap(string text) => string.Concat(CodePoints.Split(text).Select(character =>
        !Rune.TryGetRuneAt(character, 0, out Rune rune) ? character : Rune.IsUpper(rune) ? Lower(character) : Rune.IsLower(rune) ? Upper(character) : character));

    /// <summary>The form in which texts are compared without case.</summary>
    public static string Fold(string text) => Lower(Upper(text)).Replace('ς', 'σ');

    private static string TitleCharacter(string character)
    {
        if (Rune.TryGetRuneAt(character, 0, out Rune rune) && Rune.GetUnicodeCategory(rune) == UnicodeCategory.TitlecaseLetter) return character;
        string upper = Upper(character);
        return upper.Length > 1 && character.Length == 1 ? upper[0] + Lower(upper[1..]) : upper;
    }

    /// <summary>Whether there is a cased character and none of the case that <paramref name="other"/> finds.</summary>
    public static bool IsAll(string text, Func<Rune, bool> wanted, Func<Rune, bool> other)
    {
        bool any = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (other(rune) || Rune.GetUnicodeCategory(rune) == UnicodeCategory.TitlecaseLetter) return false;
            any |= wanted(rune);
        }
        return any;
    }

    public static bool IsTitle(string text)
    {
        bool any = false, inWord = false;
        foreach (Rune rune in text.EnumerateRunes())
        {
            bool upper = Rune.IsUpper(rune) || Rune.GetUnicodeCategory(rune) == UnicodeCategory.TitlecaseLetter;
            if (upper ? inWord : Rune.IsLower(rune) && !inWord) return false;
            inWord = PythonChar.IsCased(rune);
            any |= inWord;
        }
        return any;
    }
}
