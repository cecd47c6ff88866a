namespace FastGen.Models.Tokenizers;

/// <summary>NFC, NFD, NFKC or NFKD.</summary>
internal sealed class UnicodeFormNormalizer(bool composed, bool compatible) : TextNormalizer
{
    /// <inheritdoc/>
    public override string Normalize(string text) => UnicodeNormalizer.Normalize(text, composed, compatible);
}
