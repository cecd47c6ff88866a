using System.Runtime.InteropServices;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// Merges the symbols of one word: again and again the pair of the lowest rank, the leftmost first (Sennrich et al., 2016).
/// Short words by scanning, long ones with a heap in O(n log n).
/// </summary>
internal static class BytePairMerger
{
    private const int LongestScan = 48;

    /// <summary>One symbol of a word: its token and how many bytes of the word it covers.</summary>
    internal record struct Symbol(int Id, int ByteLength);

    /// <summary>Merges in place and returns how many symbols are left.</summary>
    public static int Merge(Span<Symbol> symbols, MergeTable merges) =>
        symbols.Length <= LongestScan ? Scan(symbols, merges) : MergeByHeap(symbols, merges);

    private static int Scan(Span<Symbol> symbols, MergeTable merges)
    {
        int count = symbols.Length;
        Span<int> ranks = stackalloc int[LongestScan];
        for (int i = 0; i + 1 < count; i++) ranks[i] = merges.Find(symbols[i].Id, symbols[i + 1].Id, out _);
        while (count > 1)
        {
            int best = 0;
            for (int i = 1; i + 1 < count; i++)
            {
                if (ranks[i] < ranks[best]) best = i;
            }
            if (ranks[best] == MergeTable.NoRank) break;

            merges.Find(symbols[best].Id, symbols[best + 1].Id, out int merged);
            symbols[best] = new Symbol(merged, symbols[best].ByteLength + symbols[best + 1].ByteLength);
            count--;
            symbols[(best + 2)..(count + 1)].CopyTo(symbols[(best + 1)..]);
            ranks[(best + 1)..count].CopyTo(ranks[best..]);
            if (best > 0) ranks[best - 1] = merges.Find(symbols[best - 1].Id, merged, out _);
            if (best + 1 < count) ranks[best] = merges.Find(merged, symbols[best + 1].Id, out _);
        }
        return count;
    }

    private static int MergeByHeap(Span<Symbol> symbols, MergeTable merges)
    {
        Node[] nodes = new Node[symbols.Length];
        PriorityQueue<int, long> pairs = new(symbols.Length);
        for (int i = 0; i < nodes.Length; i++)
        {
            nodes[i] = new Node { Previous = i - 1, Next = i + 1 < nodes.Length ? i + 1 : -1, Rank = MergeTable.NoRank };
        }
        for (int i = 0; i + 1 < nodes.Length; i++) Offer(i, symbols, nodes, merges, pairs);

        while (pairs.TryDequeue(out int left, out long priority))
        {
            // A pair is out of date once either of its symbols took part in another merge.
            if (nodes[left].Rank != (int)(priority >> 32)) continue;
            int right = nodes[left].Next;
            merges.Find(symbols[left].Id, symbols[right].Id, out int merged);
            symbols[left] = new Symbol(merged, symbols[left].ByteLength + symbols[right].ByteLength);
            nodes[right].Rank = MergeTable.NoRank;
            nodes[left].Next = nodes[right].Next;
            if (nodes[left].Next >= 0) nodes[nodes[left].Next].Previous = left;
            Offer(left, symbols, nodes, merges, pairs);
            if (nodes[left].Previous >= 0) Offer(nodes[left].Previous, symbols, nodes, merges, pairs);
        }

        int count = 0;
        for (int i = 0; i >= 0; i = nodes[i].Next) symbols[count++] = symbols[i];
        return count;
    }

    private static void Offer(int left, Span<Symbol> symbols, Node[] nodes, MergeTable merges, PriorityQueue<int, long> pairs)
    {
        int right = nodes[left].Next;
        int rank = right < 0 ? MergeTable.NoRank : merges.Find(symbols[left].Id, symbols[right].Id, out _);
        nodes[left].Rank = rank;
        if (rank != MergeTable.NoRank) pairs.Enqueue(left, ((long)rank << 32) | (uint)left);
    }

    [StructLayout(LayoutKind.Auto)]
    private struct Node
    {
        public int Previous;
        public int Next;
        public int Rank;
    }
}
