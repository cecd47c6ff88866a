using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>WordPiece (Schuster and Nakajima, 2012): from the left always the longest token that fits; a word that cannot be cut is unknown.</summary>
internal sealed class WordPieceModel(Vocabulary vocabulary, string unknownToken, string continuingPrefix, int longestWord) : TokenModel(vocabulary)
{
    private readonly byte[] _continuingPrefix = Encoding.UTF8.GetBytes(continuingPrefix);

    /// <inheritdoc/>
    public override void Tokenize(ReadOnlySpan<char> piece, TokenSink sink)
    {
        int byteCount = Encoding.UTF8.GetByteCount(piece);
        if (CountRunes(piece) > longestWord || !TryCut(Encoding.UTF8.GetBytes(piece.ToString()), sink)) sink.Add(UnknownId(unknownToken), byteCount);
    }

    private bool TryCut(ReadOnlySpan<byte> utf8, TokenSink sink)
    {
        byte[] candidate = new byte[_continuingPrefix.Length + utf8.Length];
        _continuingPrefix.CopyTo(candidate, 0);
        List<(int Id, int Length)> tokens = [];
        for (int start = 0; start < utf8.Length;)
        {
            utf8[start..].CopyTo(candidate.AsSpan(_continuingPrefix.Length));
            int id = -1;
            int end = utf8.Length;
            for (; end > start; end--)
            {
                if (end < utf8.Length && (utf8[end] & 0xC0) == 0x80) continue;
                int from = start == 0 ? _continuingPrefix.Length : 0;
                id = Vocabulary.IdOf(candidate.AsSpan(from..(_continuingPrefix.Length + end - start)));
                if (id >= 0) break;
            }
            if (id < 0) return false;
            tokens.Add((id, end - start));
            start = end;
        }
        foreach ((int id, int length) in tokens) sink.Add(id, length);
        return true;
    }

    private static int CountRunes(ReadOnlySpan<char> text)
    {
        int count = 0;
        foreach (Rune _ in text.EnumerateRunes()) count++;
        return count;
    }
}
