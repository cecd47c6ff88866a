using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>Removes marks. It decomposes nothing: NFD is expected before it.</summary>
internal sealed class StripAccentsNormalizer : TextNormalizer
{
    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        StringBuilder result = new(text.Length);
        Span<char> utf16 = stackalloc char[2];
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (!UnicodeNormalizer.IsMark(rune)) result.Append(utf16[..rune.EncodeToUtf16(utf16)]);
        }
        return result.Length == text.Length ? text : result.ToString();
    }
}
