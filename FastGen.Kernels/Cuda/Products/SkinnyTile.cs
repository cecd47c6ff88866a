namespace FastGen.Kernels.Cuda.Products;

/// <summary>
/// How skinny.cu cuts a product: weight rows of a CTA (gated: of gate and up projection together), 64-column blocks a stage, stages, CTAs of a
/// cluster that share the columns, and warpgroups that multiply.
/// </summary>
internal readonly record struct SkinnyTile(int Rows, int Blocks, int Stages, int Splits, int Groups)
{
    private const int BlockBytes = 128;
    private const int WgmmaRows = 64;
    private const int Alignment = 1024;
    private const int ManyOutputs = 32768;
    private const int LargeRing = 192 << 10;
    private const int SmallRing = 100 << 10;

    /// <summary>Shared memory for <paramref name="inputRows"/> rows: the ring, what the last wgmma reads past it, and the finished tile in its place.</summary>
    public int SharedBytes(int inputRows)
    {
        int past = (((Rows + (WgmmaRows * Groups) - 1) / (WgmmaRows * Groups) * WgmmaRows * Groups) - Rows) * BlockBytes;
        return Math.Max((Stages * StageBytes(inputRows)) + Math.Max(0, past - (inputRows * BlockBytes * Blocks)), inputRows * (Rows + 4) * sizeof(float)) + Alignment;
    }

    /// <summary>The tile for a product.</summary>
    public static SkinnyTile For(int multiprocessors, int outputs, int columns, int inputRows, bool gated)
    {
        bool large = !gated && outputs >= ManyOutputs;
        int rows = large ? 128 : 64, blocks = large || columns < 4 * WgmmaRows ? 1 : 2;
        int own = gated ? rows / 2 : rows, tiles = (outputs + own - 1) / own, steps = (columns + (WgmmaRows * blocks) - 1) / (WgmmaRows * blocks);
        // Clusters do not tile the chip: of 132 multiprocessors 66 pairs fit, but only 30 fours.
        int splits = 4 * tiles <= multiprocessors - 12 && steps >= 8 ? 4 : 2 * tiles <= multiprocessors && steps >= 4 ? 2 : 1;
        // One CTA an SM with a large ring, or two with smaller ones where the grid has more.
        SkinnyTile tile = new(rows, blocks, 0, splits, Groups: 1);
        return tile with { Stages = Math.Clamp((tiles * splits > multiprocessors ? SmallRing : LargeRing) / tile.StageBytes(inputRows), 2, 8) };
    }

    private int StageBytes(int inputRows) => (Rows + inputRows) * BlockBytes * Blocks;
}
