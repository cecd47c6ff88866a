using FastGen.Compute;

namespace FastGen;

/// <summary>The sizes that follow from a model, a backend and the caller's options.</summary>
/// <param name="MaxContext">Longest sequence in tokens.</param>
/// <param name="BlockBytes">Bytes of a cache block in all layers.</param>
/// <param name="Blocks">Blocks of the cache; null where the caller leaves them to the backend, which is asked when all else is there.</param>
/// <param name="Limits">The largest step.</param>
internal sealed record EngineSizes(int MaxContext, long BlockBytes, int? Blocks, StepLimits Limits)
{
    /// <exception cref="ArgumentOutOfRangeException">An option is more than the model or the block tables have room for, or the cache less than a block.</exception>
    public static EngineSizes Choose(IBackend backend, ModelShape shape, EngineOptions options)
    {
        if (options.MaxContext > shape.MaxContext)
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.MaxContext, $"{nameof(EngineOptions.MaxContext)} is {options.MaxContext}; the model was made for {shape.MaxContext} positions.");
        }
        int context = options.MaxContext ?? shape.MaxContext, blockSize = options.BlockSize;
        int blocksPerSequence = Ceiling(context, blockSize);
        if ((long)blocksPerSequence * options.MaxSequences > Array.MaxLength)
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.MaxSequences, $"{nameof(EngineOptions.MaxSequences)} is {options.MaxSequences}, each of up to {blocksPerSequence} blocks ({context} tokens in blocks of {blockSize}): more than the block tables can hold. Lower it or {nameof(EngineOptions.MaxContext)}, or enlarge {nameof(EngineOptions.BlockSize)}.");
        }
        long blockBytes = shape.CacheValuesPerToken * backend.PrecisionFor(shape.WeightType).KvCache.Size() * blockSize;
        int stepTokens = options.Scheduler.SplitFuse ? options.TokenBudget ?? backend.TokenBudgetLimit : Math.Max(context, options.MaxSequences);
        EngineSizes sizes = new(context, blockBytes, Blocks: null, new StepLimits(stepTokens, options.MaxSequences, blockSize, blocksPerSequence));
        return options switch
        {
            { CacheTokens: { } tokens } => sizes with { Blocks = sizes.Nameable(Ceiling(tokens, blockSize)) },
            { CacheBytes: { } bytes } => sizes with { Blocks = sizes.Nameable(sizes.BlocksIn(bytes)) },
            _ => sizes,
        };
    }

    /// <summary>A cache of so many blocks.</summary>
    public KvCache MakeCache(IBackend backend, ModelShape shape, int blocks) => new(backend, shape, backend.PrecisionFor(shape.WeightType).KvCache, blocks, Limits.BlockSize);

    /// <summary>Blocks of a cache that the backend gives <paramref name="cacheBytes"/> bytes: no more than the sequences can use.</summary>
    /// <exception cref="ArgumentOutOfRangeException">It is less than a block.</exception>
    public int ChooseBlocks(long cacheBytes) => Nameable(Math.Min(BlocksIn(cacheBytes), (long)Limits.BlocksPerSequence * Limits.Sequences));

    /// <summary>Units that hold <paramref name="value"/>, the last one perhaps not full.</summary>
    public static int Ceiling(int value, int unit) => (int)(((long)value + unit - 1) / unit);

    private long BlocksIn(long cacheBytes) => cacheBytes >= BlockBytes ? cacheBytes / BlockBytes : throw new ArgumentOutOfRangeException(
        nameof(cacheBytes), cacheBytes, $"The key/value cache gets {cacheBytes} bytes; one block of {Limits.BlockSize} tokens takes {BlockBytes}. Enlarge {nameof(EngineOptions.CacheBytes)}, or where it is not set, free memory for it.");

    // Block · block size + offset is an int in the batch.
    private int Nameable(long blocks) => (int)Math.Min(blocks, int.MaxValue / Limits.BlockSize);
}
