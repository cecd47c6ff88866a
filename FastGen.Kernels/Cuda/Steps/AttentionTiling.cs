namespace FastGen.Kernels.Cuda.Steps;

/// <summary>How the attention of prompts is cut: <paramref name="Warpgroups"/> of 64 packed rows each, on wgmma; 0 for one tile of 64 rows on mma.sync.</summary>
/// <param name="Warpgroups">That multiply; one more loads.</param>
/// <param name="Tokens">Keys of a stage.</param>
/// <param name="Stages">Of keys, and as many of values.</param>
internal readonly record struct AttentionTiling(int Warpgroups, int Tokens, int Stages)
{
    private const int WarpgroupRows = 64;
    private const int PlainTokens = 64;
    private const int OwnBytes = 1024;

    /// <summary>Packed rows of a tile.</summary>
    public int Rows => WarpgroupRows * Math.Max(Warpgroups, 1);

    /// <summary>What suits heads of <paramref name="headDim"/> columns on Hopper.</summary>
    public static AttentionTiling ForHopper(int headDim) => headDim switch
    {
        64 => new AttentionTiling(3, 128, 2),
        80 or 96 or 128 => new AttentionTiling(2, 128, 2),
        256 => new AttentionTiling(2, 64, 2),
        _ => default,
    };

    /// <summary>
    /// Bytes of shared memory: queries (of two tiles where they fit), keys and values in panels of 64 columns, and room to align them; on mma.sync the queries
    /// of a tile and two stages of 64 keys and values.
    /// </summary>
    public int SharedBytes(int headDim) => Warpgroups == 0
        ? (Rows + (4 * PlainTokens)) * headDim * sizeof(ushort)
        : ((headDim + 63) / 64 * 128 * ((headDim <= 128 ? 2 : 1) * Rows + (2 * Stages * Tokens))) + 1024;

    /// <summary>Whether that and the kernel's own variables fit a device's <paramref name="sharedBytesPerBlock"/>.</summary>
    public bool Fits(int headDim, int sharedBytesPerBlock) => SharedBytes(headDim) + OwnBytes <= sharedBytesPerBlock;
}
