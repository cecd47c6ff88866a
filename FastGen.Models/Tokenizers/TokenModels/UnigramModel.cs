using System.Buffers;
using System.Globalization;
using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// The unigram language model of SentencePiece (Kudo, 2018): of all ways to cut a piece into tokens the one with the largest sum of
/// scores, found by Viterbi's algorithm in time linear in the piece.
/// </summary>
internal sealed class UnigramModel : TokenModel
{
    private const double UnknownPenalty = 10.0;

    private readonly double[] _scores;
    private readonly int? _unknownId;
    private readonly double _unknownScore;
    private readonly int[]? _byteIds;
    private readonly ByteTrie _trie = new();

    /// <summary>A model over <paramref name="vocabulary"/>, whose ids index <paramref name="scores"/>.</summary>
    public UnigramModel(Vocabulary vocabulary, double[] scores, int? unknownId, bool byteFallback) : base(vocabulary)
    {
        _scores = scores;
        _unknownId = unknownId;
        _unknownScore = scores.Min() - UnknownPenalty;
        for (int id = 0; id < scores.Length; id++)
        {
            ReadOnlySpan<byte> token = vocabulary.Utf8Of(id);
            if (!token.IsEmpty) _trie.Add(token, vocabulary.IdOf(token));
        }
        if (!byteFallback) return;
        int[] byteIds = [.. Enumerable.Range(0, 256).Select(value => vocabulary.IdOf(string.Create(CultureInfo.InvariantCulture, $"<0x{value:X2}>")))];
        _byteIds = byteIds;
    }

    /// <inheritdoc/>
    // A token listed twice counts twice.
    public override int VocabularySize => _scores.Length;

    /// <inheritdoc/>
    public override void Tokenize(ReadOnlySpan<char> piece, TokenSink sink)
    {
        byte[] utf8 = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(piece.Length));
        int length = Encoding.UTF8.GetBytes(piece, utf8);
        Emit(utf8.AsSpan(0, length), FindBestPath(utf8.AsSpan(0, length)), sink);
        ArrayPool<byte>.Shared.Return(utf8);
    }

    /// <summary>For each end position the best last token: node i describes the best path over the first i bytes.</summary>
    private PathNode[] FindBestPath(ReadOnlySpan<byte> utf8)
    {
        PathNode[] best = new PathNode[utf8.Length + 1];
        Array.Fill(best, new PathNode(0, -1, 0));
        for (int start = 0; start < utf8.Length;)
        {
            Rune.DecodeFromUtf8(utf8[start..], out _, out int characterLength);
            double scoreSoFar = best[start].Score;
            bool hasCharacter = false;
            int node = ByteTrie.Root;
            for (int end = start; end < utf8.Length && _trie.TryStep(ref node, utf8[end], out int id); end++)
            {
                if (id < 0) continue;
                Relax(ref best[end + 1], start, id, scoreSoFar + _scores[id]);
                hasCharacter |= end + 1 - start == characterLength;
            }
            if (!hasCharacter)
            {
                int unknown = _unknownId ?? throw new InvalidOperationException(
                    "The text has a character that the Unigram vocabulary lacks, and the tokenizer's model.unk_id is null.");
                Relax(ref best[start + characterLength], start, unknown, scoreSoFar + _unknownScore);
            }
            start += characterLength;
        }
        return best;
    }

    private static void Relax(ref PathNode node, int start, int id, double score)
    {
        if (node.Start < 0 || score > node.Score) node = new PathNode(score, start, id);
    }

    private void Emit(ReadOnlySpan<byte> utf8, PathNode[] best, TokenSink sink)
    {
        Stack<Range> tokens = new();
        for (int end = utf8.Length; end > 0;)
        {
            int start = best[end].Start;
            // Neighbouring unknown characters are one token.
            while (best[end].Id == _unknownId && start > 0 && best[start].Id == _unknownId) start = best[start].Start;
            tokens.Push(start..end);
            end = start;
        }
        foreach (Range range in tokens)
        {
            ReadOnlySpan<byte> token = utf8[range];
            int id = Vocabulary.IdOf(token);
            if (id >= 0) sink.Add(id, token.Length);
            else if (_byteIds is null || !FallBackToBytes(token, _byteIds, sink)) sink.Add(_unknownId!.Value, token.Length);
        }
    }

    private static bool FallBackToBytes(ReadOnlySpan<byte> token, int[] byteIds, TokenSink sink)
    {
        foreach (byte value in token)
        {
            if (byteIds[value] < 0) return false;
        }
        foreach (byte value in token) sink.Add(byteIds[value], 1);
        return true;
    }

    private readonly record struct PathNode(double Score, int Start, int Id);
}
