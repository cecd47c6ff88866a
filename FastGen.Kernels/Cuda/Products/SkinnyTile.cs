namespace FastGen.Kernels.Cuda.Products;

/// <summary>What a product's weights are: outputs, columns, and whether each output has a gate and an up projection.</summary>
internal readonly record struct ProductSize(int Outputs, int Columns, bool Gated)
{
    /// <summary>Rows of the weights.</summary>
    public int WeightRows => Gated ? 2 * Outputs : Outputs;
}

/// <summary>
/// How skinny.cu cuts a product: weight rows of a CTA (gated: of gate and up projection together), 64-column blocks a stage, stages, CTAs of a
/// cluster that share the columns, and warpgroups that multiply.
/// </summary>
internal readonly record struct SkinnyTile(int Rows, int Blocks, int Stages, int Splits, int Groups)
{
    private const int BlockColumns = 64;
    private const int BlockBytes = 128;
    private const int WgmmaRows = 64;
    private const int Alignment = 1024;
    private const int MostStages = 16;
    private const int MostTileRows = 128;
    private const int FewColumns = 2048;
    private const int LargeRing = 200 << 10;
    private const int SmallRing = 100 << 10;

    /// <summary>Whether a stage is given back after the next one's products are on their way, rather than when its own are done.</summary>
    public bool Lag { get; init; }

    /// <summary>Shared memory for <paramref name="inputRows"/> rows: the ring, what the last wgmma reads past it, and the finished tile in its place.</summary>
    public int SharedBytes(int inputRows)
    {
        int covered = (Rows + (WgmmaRows * Groups) - 1) / (WgmmaRows * Groups) * WgmmaRows * Groups, past = ((covered - Rows) * BlockBytes) - (inputRows * BlockBytes * Blocks);
        return Math.Max((Stages * StageBytes(inputRows)) + Math.Max(0, past), inputRows * (Rows + 4) * sizeof(float)) + Alignment;
    }

    /// <summary>
    /// The tile for a product: rows and splits spread the weights evenly over the chip, and follow from the weights alone, so that sums are the
    /// same however many rows share a step.
    /// </summary>
    public static SkinnyTile For(ProductSize size, int inputRows, int multiprocessors)
    {
        (int rows, int splits, int perMultiprocessor) = Cut(size, multiprocessors);
        int share = (size.Columns + (BlockColumns * splits) - 1) / (BlockColumns * splits), ring = perMultiprocessor > 1 ? SmallRing : LargeRing;
        for (int blocks = 4; ; blocks /= 2)
        {
            SkinnyTile tile = new(rows, blocks, 0, splits, rows > WgmmaRows ? 2 : 1);
            int needed = (share + blocks - 1) / blocks, stages = Math.Min(Math.Min(ring / tile.StageBytes(inputRows), needed), MostStages);
            if (blocks == 1 || stages >= 4 || (stages == needed && stages > 0)) return tile with { Stages = Math.Max(stages, 2) };
        }
    }

    // Weight rows of a tile, splits, and tiles that one multiprocessor has at once. Clusters do not tile the chip: of 132 multiprocessors 66 pairs
    // fit, but only 30 fours.
    private static (int Rows, int Splits, int PerMultiprocessor) Cut(ProductSize size, int multiprocessors)
    {
        int tiles = (size.WeightRows + WgmmaRows - 1) / WgmmaRows, blocks = size.Columns / BlockColumns;
        if (4 * tiles <= multiprocessors - 12 && blocks >= 16) return (WgmmaRows, 4, 1);
        if (2 * tiles <= multiprocessors) return size.Columns <= FewColumns ? (WgmmaRows / 2, 1, 1) : (WgmmaRows, 2, 1);
        for (int count = 1; ; count++)
        {
            int rows = (size.WeightRows + (16 * multiprocessors * count) - 1) / (16 * multiprocessors * count) * 16;
            if (rows <= MostTileRows) return (rows, 1, count);
        }
    }

    private int StageBytes(int inputRows) => (Rows + inputRows) * BlockBytes * Blocks;
}
