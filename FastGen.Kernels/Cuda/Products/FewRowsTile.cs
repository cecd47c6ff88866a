namespace FastGen.Kernels.Cuda.Products;

/// <summary>How few_rows.cu cuts a product: rows of the input, padded; chunks of 32 columns a stage; stages; CTAs of a cluster that share the columns; and clusters.</summary>
internal readonly record struct FewRowsTile(int InputRows, int Piece, int Stages, int Splits, int Groups, int SharedBytes)
{
    /// <summary>Warps that multiply.</summary>
    public const int Warps = 16;

    private const int ChunkColumns = 32;
    private const int ChunkBytes = 64;
    private const int TileRows = 16;
    private const int WordsAChunk = 4;
    private const int MostWords = 64;
    private const int MostPiece = 32;
    private const int MostWholePiece = 48;
    private const int LeastStages = 2;
    private const int LongShare = 256 << 10;
    private const int LongRing = 190 << 10;
    private const int ShortRing = 110 << 10;
    private const int OwnBytes = 3 << 10;

    /// <summary>The cut for a product of so many rows; none where registers do not hold the input, or shared memory not the sums.</summary>
    public static FewRowsTile? For(ProductSize size, int rows, int multiprocessors, int sharedBytesPerBlock)
    {
        int padded = rows <= 8 ? 8 : rows <= 16 ? 16 : 32;
        for (int splits = 1; splits <= 2; splits++)
        {
            if (size.Columns % (ChunkColumns * splits) != 0) continue;
            int chunks = size.Columns / ChunkColumns / splits, whole = (chunks + Warps - 1) / Warps * Warps, piece = whole <= MostWholePiece ? whole : MostPiece, pieces = (chunks + piece - 1) / piece;
            if (pieces * piece / Warps * WordsAChunk * padded / 8 > MostWords) continue;
            int groups = Math.Min(multiprocessors / splits, size.Outputs), outputs = (size.Outputs + groups - 1) / groups, tiles = (outputs + OutputsOf(size) - 1) / OutputsOf(size);
            int sums = TileRows * padded * sizeof(float), sumBytes = ((padded <= 16 ? 2 : 1) * Warps * sums) + (splits > 1 ? tiles * sums : 0);
            long share = (long)outputs * (size.Gated ? 2 : 1) * chunks * ChunkBytes;
            int stageBytes = TileRows * ((piece * ChunkBytes) + ChunkBytes), ring = Math.Min(share > LongShare ? LongRing : ShortRing, sharedBytesPerBlock - OwnBytes - sumBytes);
            int stages = Math.Min(ring / stageBytes, tiles * pieces);
            if (stages < Math.Min(LeastStages, tiles * pieces)) continue;
            return new FewRowsTile(padded, piece, stages, splits, groups, (stages * stageBytes) + sumBytes);
        }
        return null;
    }

    private static int OutputsOf(ProductSize size) => size.Gated ? TileRows / 2 : TileRows;
}
