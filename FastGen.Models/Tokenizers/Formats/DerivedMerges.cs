using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// The merges of vocabularies that come without: every way to cut a token into two others is a merge, those of better tokens first. The
/// order among the merges of one token is that of Hugging Face's converters.
/// </summary>
internal static class DerivedMerges
{
    /// <summary>
    /// The merges of a SentencePiece model: tokens by falling score, their cuts by falling length of the left part, then of the right one.
    /// </summary>
    public static MergeTable OfScoredPieces(IReadOnlyList<SentencePiece> pieces, Vocabulary vocabulary)
    {
        List<(int Left, int Right, int Merged, float Score, int LeftLength, int RightLength)> merges = [];
        for (int id = 0; id < pieces.Count; id++)
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(pieces[id].Text);
            int merged = vocabulary.IdOf(utf8);
            List<(int Left, int Right, int LeftLength)> cuts = [];
            int leftLength = 0;
            for (int cut = 1; cut < utf8.Length; cut++)
            {
                if ((utf8[cut] & 0xC0) == 0x80) continue;
                leftLength++;
                int left = vocabulary.IdOf(utf8.AsSpan(0, cut));
                int right = left < 0 ? -1 : vocabulary.IdOf(utf8.AsSpan(cut));
                if (right >= 0) cuts.Add((left, right, leftLength));
            }
            int length = leftLength + 1;
            merges.AddRange(cuts.Select(cut => (cut.Left, cut.Right, merged, pieces[id].Score, cut.LeftLength, length - cut.LeftLength)));
        }
        return Build([.. merges.OrderByDescending(merge => merge.Score).ThenByDescending(merge => merge.LeftLength).ThenByDescending(merge => merge.RightLength)
            .Select(merge => (merge.Left, merge.Right, merge.Merged))]);
    }

    /// <summary>The merges of a list of byte strings by rank: tokens by rising rank, their cuts by the ranks of the parts.</summary>
    public static MergeTable OfRankedBytes(IReadOnlyList<(byte[] Bytes, int Rank)> tokens)
    {
        Vocabulary ranks = new(tokens.Count);
        foreach ((byte[] bytes, int rank) in tokens) ranks.Add(bytes, rank);
        List<(int Left, int Right, int Merged)> merges = new(tokens.Count * 2);
        List<(int Left, int Right, int Merged)> cuts = [];
        foreach ((byte[] bytes, int rank) in tokens.OrderBy(token => token.Rank))
        {
            cuts.Clear();
            for (int cut = 1; cut < bytes.Length; cut++)
            {
                int left = ranks.IdOf(bytes.AsSpan(0, cut));
                int right = left < 0 ? -1 : ranks.IdOf(bytes.AsSpan(cut));
                if (right >= 0) cuts.Add((left, right, rank));
            }
            cuts.Sort();
            merges.AddRange(cuts);
        }
        return Build(merges);
    }

    private static MergeTable Build(List<(int Left, int Right, int Merged)> merges)
    {
        MergeTable table = new(merges.Count);
        for (int rank = 0; rank < merges.Count; rank++) table.Add(merges[rank].Left, merges[rank].Right, rank, merges[rank].Merged);
        return table;
    }
}
