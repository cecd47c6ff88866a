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

    public static string Lower(string text) => Lower(text, 0);

    /// <summary>The lower case of what begins at <paramref name="start"/>; what is before it counts as its context.</summary>
    private static string Lower(string text, int start)
    {
        StringBuilder lower = new(text[start..].ToLowerInvariant());
        for (int i = text.IndexOf('Σ', start); i >= 0; i = text.IndexOf('Σ', i + 1))
        {
            if (EndsWord(text, i)) lower[i - start] = 'ς';
        }
        return lower.Replace("İ", "i̇").ToString();
    }

    /// <summary>The rule of The Unicode Standard, section 3.13: a cased letter before, none behind, whatever marks lie between.</summary>
    private static bool EndsWord(string text, int sigma)
    {
        bool hasBefore = false;
        for (int i = sigma; i > 0;)
        {
            Rune.DecodeLastFromUtf16(text.AsSpan(0, i), out Rune before, out int length);
            i -= length;
            if (PythonChar.IsCaseIgnorable(before)) continue;
            hasBefore = PythonChar.IsCased(before);
            break;
        }
        if (!hasBefore) return false;
        foreach (Rune behind in text.AsSpan(sigma + 1).EnumerateRunes())
        {
            if (!PythonChar.IsCaseIgnorable(behind)) return !PythonChar.IsCased(behind);
        }
        return true;
    }

    public static string Capitalize(string text)
    {
        if (text.Length == 0) return text;
        int first = text.Length > 1 && char.IsSurrogatePair(text, 0) ? 2 : 1;
        return TitleCharacter(text[..first]) + Lower(text, first);
    }

    /// <summary>A capital at the start of each run of letters.</summary>
    public static string Title(string text)
    {
        StringBuilder title = new(text.Length);
        int position = 0;
        bool inWord = false;
        foreach (string character in CodePoints.Split(text))
        {
            title.Append(inWord ? LowerCharacter(text, position, character) : TitleCharacter(character));
            position += character.Length;
            inWord = Rune.TryGetRuneAt(character, 0, out Rune rune) && PythonChar.IsCased(rune);
        }
        return title.ToString();
    }

    private static string LowerCharacter(string text, int position, string character) => character == "Σ" ? EndsWord(text, position) ? "ς" : "σ" : Lower(character);

    public static string Swap(string text)
    {
        StringBuilder swapped = new(text.Length);
        int position = 0;
        foreach (string character in CodePoints.Split(text))
        {
            bool isCharacter = Rune.TryGetRuneAt(character, 0, out Rune rune);
            swapped.Append(isCharacter && Rune.IsUpper(rune) ? LowerCharacter(text, position, character) : isCharacter && Rune.IsLower(rune) ? Upper(character) : character);
            position += character.Length;
        }
        return swapped.ToString();
    }

    /// <summary>The form in which texts are compared without case.</summary>
    public static string Fold(string text) => Lower(Upper(text)).Replace('ς', 'σ');

    private static string TitleCharacter(string character)
    {
        if (Rune.TryGetRuneAt(character, 0, out Rune rune) && Rune.GetUnicodeCategory(rune) == UnicodeCategory.TitlecaseLetter) return character;
        string upper = Upper(character) switch
        {
            "Ǆ" => "ǅ",
            "Ǉ" => "ǈ",
            "Ǌ" => "ǋ",
            "Ǳ" => "ǲ",
            string other => other,
        };
        if (upper.Length > 1 && upper[0] == 'ʼ') return upper;
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
