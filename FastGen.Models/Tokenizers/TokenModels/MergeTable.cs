using System.Numerics;

namespace FastGen.Models.Tokenizers;

/// <summary>The merges of a byte-pair encoding: which pairs of tokens join, into what, and which first. Open addressing over arrays.</summary>
internal sealed class MergeTable
{
    /// <summary>The rank of a pair that does not merge.</summary>
    public const int NoRank = int.MaxValue;

    private readonly Slot[] _slots;
    private readonly int _shift;

    /// <summary>A table for at most <paramref name="capacity"/> merges.</summary>
    public MergeTable(int capacity)
    {
        int bits = BitOperations.Log2(BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, capacity * 7L / 5)));
        _slots = new Slot[1 << bits];
        _shift = 64 - bits;
    }

    /// <summary>Adds the merge of rank <paramref name="rank"/>; a pair named twice keeps the last rank.</summary>
    public void Add(int left, int right, int rank, int merged)
    {
        ulong key = Key(left, right);
        ref Slot slot = ref _slots[Index(key)];
        slot = new Slot { Key = key, Rank = rank, Merged = merged };
    }

    /// <summary>The rank of the pair and the token it becomes; <see cref="NoRank"/> when it does not merge.</summary>
    public int Find(int left, int right, out int merged)
    {
        ulong key = Key(left, right);
        ref readonly Slot slot = ref _slots[Index(key)];
        merged = slot.Merged;
        return slot.Key == key ? slot.Rank : NoRank;
    }

    private int Index(ulong key)
    {
        int index = (int)((key * 0x9E3779B97F4A7C15) >> _shift);
        while (_slots[index].Key != key && _slots[index].Key != 0) index = (index + 1) & (_slots.Length - 1);
        return index;
    }

    // Ids are shifted by one so that no pair has the key of an empty slot.
    private static ulong Key(int left, int right) => ((ulong)(uint)(left + 1) << 32) | (uint)(right + 1);

    private struct Slot
    {
        public ulong Key;
        public int Rank;
        public int Merged;
    }
}
