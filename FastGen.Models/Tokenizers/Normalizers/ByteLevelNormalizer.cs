using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary><c>ByteLevel</c> as a normalizer: every byte of the text's UTF-8 becomes a character of <see cref="ByteAlphabet"/>.</summary>
internal sealed class ByteLevelNormalizer : TextNormalizer
{
    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        return string.Create(utf8.Length, utf8, static (characters, bytes) =>
        {
            for (int i = 0; i < bytes.Length; i++) characters[i] = ByteAlphabet.ToCharacter(bytes[i]);
        });
    }
}
