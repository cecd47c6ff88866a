using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary><c>Nmt</c>: the cleaning of SentencePiece's <c>nmt_nfkc</c> rule; control characters vanish, other separators become spaces.</summary>
internal sealed class NmtNormalizer : TextNormalizer
{
    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        StringBuilder result = new(text.Length);
        foreach (char character in text)
        {
            if (!IsDropped(character)) result.Append(IsSpace(character) ? ' ' : character);
        }
        return result.ToString();
    }

    private static bool IsDropped(char character) =>
        character is (>= '\u0001' and <= '\u0008') or '\u000B' or (>= '\u000E' and <= '\u001F') or '\u007F' or '\u008F' or '\u009F';

    private static bool IsSpace(char character) =>
        character is '\t' or '\n' or '\f' or '\r' or '\u1680' or (>= '\u200B' and <= '\u200F') or '\u2028' or '\u2029' or '\u2581' or '\uFEFF' or '\uFFFD';
}
