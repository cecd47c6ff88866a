namespace FastGen.Kernels.Cuda.Products;

/// <summary>How few_rows.cu cuts a product: chunks of 32 columns a stage, stages, and CTAs.</summary>
internal readonly record struct FewRowsTile(int Piece, int Stages, int Ctas)
{
    /// <summary>Warps that multiply.</summary>
    public const int Warps = 16;

    /// <summary>Columns of a chunk, of which the input has a whole number.</summary>
    public const int ChunkColumns = 32;

    /// <summary>Rows of the input that the kernel takes.</summary>
    public const int InputRows = 8;

    private const int ChunkBytes = 64;
    private const int TileRows = 16;
    private const int SumBytes = 2 * Warps * TileRows * InputRows * sizeof(float);
    private const int MostPiece = 32;
    private const int MostWholePiece = 48;
    private const int LongShare = 256 << 10;
    private const int LongRing = 190 << 10;
    private const int ShortRing = 110 << 10;

    // More than half of what a multiprocessor has: where two CTAs fit, one may get a second before another has any. Of two stages there is room for the next kernel's beside it.
    private const int LeastBytes = 116 << 10;
    private const int SmallStages = 2;

    /// <summary>Shared memory: the ring, and the warps' sums.</summary>
    public int SharedBytes => Math.Max((Stages * StageBytes(Piece)) + SumBytes, Stages > SmallStages ? LeastBytes : 0);

    /// <summary>The cut for a product: every multiprocessor has an even share of the outputs.</summary>
    public static FewRowsTile For(ProductSize size, int multiprocessors)
    {
        int chunks = size.Columns / ChunkColumns, whole = (chunks + Warps - 1) / Warps * Warps, piece = whole <= MostWholePiece ? whole : MostPiece;
        int ctas = Math.Min(multiprocessors, size.Outputs), outputs = (size.Outputs + ctas - 1) / ctas, rows = size.Gated ? 2 * outputs : outputs;
        int needed = (rows + TileRows - 1) / TileRows * ((chunks + piece - 1) / piece);
        // A long product keeps a multiprocessor to itself; beside a short one the next kernel's first loads find room.
        int ring = (long)rows * chunks * ChunkBytes > LongShare ? LongRing : ShortRing;
        return new FewRowsTile(piece, Math.Min(ring / StageBytes(piece), needed), ctas);
    }

    private static int StageBytes(int piece) => TileRows * piece * ChunkBytes;
}
