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
        Span<Pair> pairs = stackalloc Pair[LongestScan];
        for (int i = 0; i + 1 < count; i++) pairs[i] = Pair.Of(symbols[i], symbols[i + 1], merges);
        while (count > 1)
        {
            int best = 0;
            for (int i = 1; i + 1 < count; i++)
            {
                if (pairs[i].Rank < pairs[best].Rank) best = i;
            }
            if (pairs[best].Rank == MergeTable.NoRank) break;

            symbols[best] = new Symbol(pairs[best].Merged, symbols[best].ByteLength + symbols[best + 1].ByteLength);
            count--;
            symbols[(best + 2)..(count + 1)].CopyTo(symbols[(best + 1)..]);
            pairs[(best + 1)..count].CopyTo(pairs[best..]);
            if (best > 0) pairs[best - 1] = Pair.Of(symbols[best - 1], symbols[best], merges);
            if (best + 1 < count) pairs[best] = Pair.Of(symbols[best], symbols[best + 1], merges);
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

    /// <summary>What becomes of a symbol and the one behind it.</summary>
    private readonly record struct Pair(int Rank, int Merged)
    {
        public static Pair Of(Symbol left, Symbol right, MergeTable merges)
        {
            int rank = merges.Find(left.Id, right.Id, out int merged);
            return new Pair(rank, merged);
        }
    }

    [StructLayout(LayoutKind.Auto)]
    private struct Node
    {
        public int Previous;
        public int Next;
        public int Rank;
    }
}
