using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>Lower case, character by character and whatever the culture.</summary>
internal sealed class LowercaseNormalizer : TextNormalizer
{
    /// <inheritdoc/>
    // U+0130 is the one character whose lower case is two.
    public override string Normalize(string text)
    {
        StringBuilder result = new(text.Length);
        Span<char> utf16 = stackalloc char[2];
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (rune.Value == 0x130) result.Append("i\u0307");
            else result.Append(utf16[..Rune.ToLowerInvariant(rune).EncodeToUtf16(utf16)]);
        }
        return result.ToString();
    }
}
