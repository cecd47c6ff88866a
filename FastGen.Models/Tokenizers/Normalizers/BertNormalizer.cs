using System.Globalization;
using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>What BERT does to a text: cleans it, sets Chinese characters apart, drops accents, lowers the case.</summary>
internal sealed class BertNormalizer(bool cleanText, bool handleChineseCharacters, bool stripAccents, bool lowercase) : TextNormalizer
{
    private static readonly LowercaseNormalizer Lowercase = new();

    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        if (cleanText) text = Rewrite(text, Clean);
        if (handleChineseCharacters) text = Rewrite(text, static rune => IsChinese(rune.Value) ? $" {rune} " : rune.ToString());
        if (stripAccents) text = Rewrite(UnicodeNormalizer.Normalize(text, composed: false, compatible: false), DropAccent);
        return lowercase ? Lowercase.Normalize(text) : text;
    }

    private static string Rewrite(string text, Func<Rune, string> rewrite)
    {
        StringBuilder result = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes()) result.Append(rewrite(rune));
        return result.ToString();
    }

    private static string Clean(Rune rune)
    {
        if (Rune.IsWhiteSpace(rune)) return rune.Value is 0x0B or 0x0C or 0x85 ? "" : " ";
        bool control = Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.PrivateUse;
        return control || rune.Value is 0xFFFD ? "" : rune.ToString();
    }

    // Marks that Unicode got later than Hugging Face's tables stay.
    private static string DropAccent(Rune rune) =>
        Rune.GetUnicodeCategory(rune) == UnicodeCategory.NonSpacingMark && UnicodeNormalizer.IsMark(rune) ? "" : rune.ToString();

    // The blocks of Chinese characters as BERT's own tokenizer lists them.
    private static bool IsChinese(int value) => value is
        >= 0x4E00 and <= 0x9FFF or >= 0x3400 and <= 0x4DBF or >= 0x20000 and <= 0x2A6DF or >= 0x2A700 and <= 0x2B73F
        or >= 0x2B740 and <= 0x2B81F or >= 0x2B920 and <= 0x2CEAF or >= 0xF900 and <= 0xFAFF or >= 0x2F800 and <= 0x2FA1F;
}
