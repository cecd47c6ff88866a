using FastGen.Compute;

namespace FastGen;

/// <summary>The sizes that follow from a model, a backend and the caller's options.</summary>
internal sealed record EngineSizes(int MaxContext, int Blocks, long CacheBytes, StepLimits Limits)
{
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
        long blocks = options switch
        {
            { CacheTokens: { } tokens } => Ceiling(tokens, blockSize),
            { CacheBytes: { } bytes } => bytes / blockBytes,
            _ => Math.Min(backend.DefaultCacheBytes / blockBytes, (long)blocksPerSequence * options.MaxSequences),
        };
        if (blocks < 1)
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.CacheBytes ?? backend.DefaultCacheBytes, $"The key/value cache gets {options.CacheBytes ?? backend.DefaultCacheBytes} bytes; one block of {blockSize} tokens takes {blockBytes}. Enlarge {nameof(EngineOptions.CacheBytes)}.");
        }
        // Block · block size + offset is an int in the batch.
        int count = (int)Math.Min(blocks, int.MaxValue / blockSize);
        int stepTokens = options.Scheduler.SplitFuse ? options.TokenBudget ?? backend.TokenBudgetLimit : Math.Max(context, options.MaxSequences);
        StepLimits limits = new(stepTokens, options.MaxSequences, blockSize, blocksPerSequence);
        return new EngineSizes(context, count, count * blockBytes, limits);
    }

    private static int Ceiling(int value, int unit) => (int)(((long)value + unit - 1) / unit);
}
