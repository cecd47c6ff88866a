using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>A model of a published shape, wired by its family's own layers, on a backend of an <see cref="ImaginedDevice"/>. One layer stands for all.</summary>
internal static class ImaginedModel
{
    private const int BlockSize = 16;

    /// <summary>What steps of all sizes would launch.</summary>
    /// <param name="backend">Prepared here.</param>
    /// <param name="config">The model's config.json.</param>
    /// <param name="type">Of the weights.</param>
    /// <param name="tokens">The token budget.</param>
    /// <param name="sequences">That run at once.</param>
    public static IReadOnlyList<KernelLaunch> Launches(CudaBackend backend, string config, DType type, int tokens = 8192, int sequences = 128)
    {
        using UnreadCheckpoint checkpoint = new(type);
        ObservedBackend observed = new(backend) { Uploading = (_, _, _) => true };
        CausalLM model = ModelLoader.Load(ModelConfig.Parse(config), checkpoint, observed, new ModelLoadOptions());
        ModelShape shape = model.Shape;
        StepLimits limits = new(tokens, sequences, BlockSize, (shape.MaxContext + BlockSize - 1) / BlockSize);
        backend.Prepare(shape, limits);
        KvCache cache = new(backend, shape, backend.PrecisionFor(type).KvCache, limits.BlocksPerSequence, BlockSize);
        Activations buffers = new(backend, shape, limits);
        RaggedBatch batch = new(limits);
        batch.AddSequence(0, [1], 0, new int[limits.BlocksPerSequence]);
        batch.AddLogitRow();
        return backend.Rehearse(batch, (rows, logitRows) =>
        {
            buffers.Resize(rows, logitRows);
            model.Forward(new ForwardPass(backend, batch, cache, buffers));
            backend.Sample(buffers.Logits, batch);
        });
    }
}
