using FastGen.Compute;

namespace FastGen;

/// <summary>
/// Finds how large the key/value cache may be where the caller does not say: weights and activations are there; scratch, libraries and kernels reach their peaks in the
/// largest steps, which run with a cache of a single block, all that warm-up needs; what is free then is for the cache, less what the backend keeps back.
/// </summary>
internal static class CacheMeasurement
{
    /// <summary>Blocks for the cache. Where the backend compiles steps they are compiled here, and the largest have run.</summary>
    public static int ChooseBlocks(CausalLM model, Activations activations, EngineSizes sizes, CancellationToken cancellationToken)
    {
        IBackend backend = model.Backend;
        if (backend.CompilesSteps)
        {
            KvCache provisional = sizes.MakeCache(backend, model.Shape, blocks: 1);
            ModelRunner runner = new(model, provisional, activations);
            StepWarmUp.Compile(backend, runner, sizes.Limits, cancellationToken);
            StepWarmUp.RunLargest(backend, runner, sizes.Limits, model.Shape.VocabularySize, sizes.MaxContext, cancellationToken);
            provisional.Free(backend);
        }
        return sizes.ChooseBlocks(backend.DefaultCacheBytes);
    }
}
