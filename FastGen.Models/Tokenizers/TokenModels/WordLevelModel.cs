using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>A piece is a token or unknown.</summary>
internal sealed class WordLevelModel(Vocabulary vocabulary, string unknownToken) : TokenModel(vocabulary)
{
    /// <inheritdoc/>
    public override void Tokenize(ReadOnlySpan<char> piece, TokenSink sink)
    {
        int id = Vocabulary.IdOf(piece);
        sink.Add(id >= 0 ? id : UnknownId(unknownToken), Encoding.UTF8.GetByteCount(piece));
    }
}
