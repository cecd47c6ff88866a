using System.Diagnostics;

namespace FastGen;

/// <summary>Hands out cache blocks. A block is free or owned by exactly one sequence.</summary>
internal sealed class BlockAllocator
{
    private readonly int[] _free;
    private readonly bool[] _owned;

    public BlockAllocator(int blockCount, int blockSize)
    {
        BlockSize = blockSize;
        _owned = new bool[blockCount];
        _free = new int[blockCount];
        for (int i = 0; i < blockCount; i++) _free[i] = blockCount - 1 - i;
        FreeBlocks = blockCount;
    }

    public int BlockSize { get; }

    public int FreeBlocks { get; private set; }

    public int TotalBlocks => _owned.Length;

    public int UsedBlocks => TotalBlocks - FreeBlocks;

    /// <summary>Most blocks that were owned at once.</summary>
    public int PeakUsedBlocks { get; private set; }

    public int BlocksFor(int tokens) => (tokens + BlockSize - 1) / BlockSize;

    /// <summary>Grows the table to hold positions below <paramref name="tokens"/>; changes nothing and returns false when blocks run out.</summary>
    public bool TryGrow(BlockTable table, int tokens)
    {
        int needed = BlocksFor(tokens) - table.Count;
        if (needed > FreeBlocks) return false;
        for (; needed > 0; needed--)
        {
            int block = _free[--FreeBlocks];
            Debug.Assert(!_owned[block], "A free block has no owner.");
            _owned[block] = true;
            table.Append(block);
        }
        PeakUsedBlocks = Math.Max(PeakUsedBlocks, UsedBlocks);
        return true;
    }

    /// <summary>Gives back the blocks that lie wholly before <paramref name="position"/>.</summary>
    public void ReleaseBefore(BlockTable table, int position)
    {
        for (int last = Math.Min(position / BlockSize, table.Count); table.Released < last;) Return(table.ReleaseFirst());
    }

    /// <summary>Gives back all blocks of the table and empties it.</summary>
    public void Free(BlockTable table)
    {
        while (table.Owned > 0) Return(table.ReleaseFirst());
        table.Clear();
    }

    private void Return(int block)
    {
        if (!_owned[block]) throw new InvalidOperationException($"Cache block {block} was freed twice.");
        _owned[block] = false;
        _free[FreeBlocks++] = block;
    }
}
