namespace FastGen;

/// <summary>The cache blocks of one sequence, by position / block size. Blocks before <see cref="Released"/> were given back.</summary>
internal sealed class BlockTable
{
    private int[] _blocks;

    public BlockTable(int capacity) => _blocks = new int[Math.Max(capacity, 4)];

    /// <summary>Entries so far, released ones included.</summary>
    public int Count { get; private set; }

    /// <summary>Leading entries whose blocks are no longer owned.</summary>
    public int Released { get; private set; }

    /// <summary>Blocks that the sequence owns.</summary>
    public int Owned => Count - Released;

    public ReadOnlySpan<int> Entries => _blocks.AsSpan(0, Count);

    public void Append(int block)
    {
        if (Count == _blocks.Length) Array.Resize(ref _blocks, 2 * Count);
        _blocks[Count++] = block;
    }

    public int ReleaseFirst() => _blocks[Released++];

    public void Clear() => Count = Released = 0;
}
