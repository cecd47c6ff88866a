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
    private const int MostRowsOfLargeTile = 256;
    private const int FewRows = 16, ManyRows = 64;
    private const int FewColumns = 2048;
    private const int LargeRing = 200 << 10;
    private const int SmallRing = 100 << 10;
    private const int LeastStages = 2;

    /// <summary>
    /// Shared memory for <paramref name="inputRows"/> rows: the ring, what the last wgmma reads past it, the finished tile in its place, and behind both what the other CTAs of
    /// the cluster send.
    /// </summary>
    public int SharedBytes(int inputRows)
    {
        int covered = (Rows + (WgmmaRows * Groups) - 1) / (WgmmaRows * Groups) * WgmmaRows * Groups, past = ((covered - Rows) * BlockBytes) - (inputRows * BlockBytes * Blocks);
        int ring = Stages * StageBytes(inputRows), finished = inputRows * (Rows + 4) * sizeof(float), received = finished / Splits * (Splits - 1);
        return Math.Max(ring + Math.Max(0, past), Math.Max(ring, finished) + received) + Alignment;
    }

    /// <summary>
    /// The tile for a product: it spreads the weights evenly over the chip and fits its shared memory. The splits follow from the weights alone, so that sums are
    /// the same however many rows share a step.
    /// </summary>
    /// <param name="size">Of both products, if there are two.</param>
    /// <param name="moreOutputs">Of its outputs those of a second matrix, which begins with a tile of its own.</param>
    /// <param name="inputRows">Rows of the input's tile.</param>
    /// <param name="multiprocessors">Of the device.</param>
    /// <param name="sharedBytesPerBlock">Of the device.</param>
    public static SkinnyTile For(ProductSize size, int moreOutputs, int inputRows, int multiprocessors, int sharedBytesPerBlock)
    {
        int splits = SplitsOf(size, multiprocessors), step = size.Gated ? 16 : 8, count = 1, height = Height(count);
        // One tile a multiprocessor where the input is short, or so long that either of two would spend most of its ring on it.
        bool large = inputRows <= FewRows || (size.Gated && inputRows > ManyRows);
        if (height > (large ? MostRowsOfLargeTile : MostTileRows))
        {
            while (height > MostTileRows) height = Height(++count);
        }
        while (moreOutputs > 0 && (Tiles(size.Outputs - moreOutputs) + Tiles(moreOutputs)) * splits > multiprocessors * count) height += step;
        int Tiles(int outputs) => (outputs + height - 1) / height;
        int Height(int tiles) => (((size.WeightRows * splits) + (multiprocessors * tiles) - 1) / (multiprocessors * tiles) + step - 1) / step * step;
        // Room on the chip for the next kernel's first loads is worth more than the smallest tile.
        if (splits == 4 || (size.Columns > FewColumns && inputRows > FewRows && splits == 1 && height is > WgmmaRows / 2 and < WgmmaRows)) height = WgmmaRows;
        int share = (size.Columns + (BlockColumns * splits) - 1) / (BlockColumns * splits), ring = count > 1 || height <= WgmmaRows / 2 ? SmallRing : LargeRing;
        int enough = size.Columns <= FewColumns ? 3 : 4;
        for (int blocks = splits == 4 ? 2 : 4; ; blocks /= 2)
        {
            SkinnyTile tile = new(height, blocks, 0, splits, height <= WgmmaRows ? 1 : height > MostTileRows && inputRows > ManyRows ? 4 : 2);
            int needed = (share + blocks - 1) / blocks, stages = Math.Min(Math.Min(ring / tile.StageBytes(inputRows), needed), MostStages);
            tile = tile with { Stages = Math.Max(stages, LeastStages) };
            // One stage may hold all columns, but two are the least: of narrower ones, where two so wide do not fit. Beside them are the kernel's barriers and sums.
            if (blocks == 1 || ((stages >= enough || (stages == needed && stages > 0)) && tile.SharedBytes(inputRows) + Alignment <= sharedBytesPerBlock)) return tile;
        }
    }

    // Clusters do not tile the chip: of 132 multiprocessors 66 pairs fit, but only 30 fours.
    private static int SplitsOf(ProductSize size, int multiprocessors)
    {
        int tiles = (size.WeightRows + WgmmaRows - 1) / WgmmaRows;
        if (4 * tiles <= multiprocessors - 12 && size.Columns >= 16 * BlockColumns) return 4;
        // Higher tiles of half the columns each, too, where tiles of 64 rows would leave a tenth of the device without.
        bool wide = size.Columns > FewColumns, idle = 2 * tiles > multiprocessors && 10 * tiles < 9 * multiprocessors;
        return wide && (2 * tiles <= multiprocessors || idle) ? 2 : 1;
    }

    private int StageBytes(int inputRows) => (Rows + inputRows) * BlockBytes * Blocks;
}
