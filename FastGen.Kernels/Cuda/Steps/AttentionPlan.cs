using FastGen.Compute;

namespace FastGen.Kernels.Cuda.Steps;

/// <summary>
/// Which attention kernel serves which rows, made once a step and used by all layers. Sequences with one new token are listed for the
/// split kernel; the others are cut into tiles of <see cref="TileRows"/> packed rows (a row for each new token and head of a group).
/// In the metadata: the two counts, for each sequence with one new token its slot, context, row and rotary base, then for each tile its sequence and first packed row.
/// </summary>
internal sealed class AttentionPlan
{
    // The number of sequences with one new token and the number of tiles, padded so that the sequences lie at multiples of their size.
    private const int HeaderInts = 4;
    private const int SingleInts = 4;

    private readonly StepLimits _limits;
    private readonly int _group, _tileRows;
    private readonly int[] _lengths;
    private readonly (int Sequence, int Row)[] _tiles;

    public AttentionPlan(StepLimits limits, int group, int tileRows)
    {
        (_limits, _group, _tileRows) = (limits, group, tileRows);
        long capacity = ((long)limits.Tokens * group / tileRows) + limits.Sequences;
        (_lengths, _tiles) = (new int[capacity], new (int, int)[capacity]);
    }

    /// <summary>Packed rows of one tile.</summary>
    public int TileRows => _tileRows;

    /// <summary>Ints that the plan may take.</summary>
    public int Capacity => TilesOffset + (2 * _tiles.Length);

    /// <summary>Sequences with one new token.</summary>
    public int SingleCount { get; private set; }

    /// <summary>Tiles of all other sequences.</summary>
    public int TileCount { get; private set; }

    /// <summary>Keys that the sequences with one new token see, added up.</summary>
    public long SingleKeys { get; private set; }

    /// <summary>Keys that the tiles see, added up; all rows of a tile meet as many as its last.</summary>
    public long TileKeys { get; private set; }

    /// <summary>Offset of the tiles in the plan.</summary>
    public int TilesOffset => HeaderInts + (SingleInts * _limits.Sequences);

    /// <summary>Ints used, from the beginning.</summary>
    public int UsedLength => TileCount == 0 ? HeaderInts + (SingleInts * SingleCount) : TilesOffset + (2 * TileCount);

    /// <summary>Plans <paramref name="batch"/> into <paramref name="target"/>. Groups that do not fit the split kernel go to tiles.</summary>
    public void Fill(RaggedBatch batch, Span<int> target, bool splitSingles)
    {
        (SingleCount, TileCount, SingleKeys, TileKeys) = (0, 0, 0, 0);
        ReadOnlySpan<int> starts = batch.Starts;
        for (int sequence = 0; sequence < batch.SequenceCount; sequence++)
        {
            int tokens = starts[sequence + 1] - starts[sequence];
            if (tokens == 1 && splitSingles)
            {
                ReadOnlySpan<int> single = [batch.SequenceSlots[sequence], batch.ContextLengths[sequence], starts[sequence], batch.RotaryBases[sequence]];
                single.CopyTo(target[(HeaderInts + (SingleInts * SingleCount++))..]);
                SingleKeys += batch.ContextLengths[sequence];
                continue;
            }
            for (int row = (((tokens * _group) - 1) / _tileRows) * _tileRows; row >= 0; row -= _tileRows)
            {
                int keys = batch.ContextLengths[sequence] - tokens + (Math.Min(row + _tileRows, tokens * _group) / _group);
                TileKeys += keys;
                // Ascending order of the negated number is descending order of the keys that the tile sees.
                _lengths[TileCount] = -keys;
                _tiles[TileCount++] = (sequence, row);
            }
        }
        // The longest first, so that the last tiles to start are short ones.
        Array.Sort(_lengths, _tiles, 0, TileCount);
        for (int tile = 0; tile < TileCount; tile++) (target[TilesOffset + (2 * tile)], target[TilesOffset + (2 * tile) + 1]) = _tiles[tile];
        (target[0], target[1]) = (SingleCount, TileCount);
    }
}
