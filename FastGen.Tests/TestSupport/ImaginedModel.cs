using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>A model of a published shape, wired by its family's own layers, on a backend of an <see cref="ImaginedDevice"/>. One layer stands for all.</summary>
internal static class ImaginedModel
{
    private const int Tokens = 8192, Sequences = 128, BlockSize = 16;

    /// <summary>What steps of all sizes would launch.</summary>
    /// <param name="backend">Prepared here.</param>
    /// <param name="config">The model's config.json.</param>
    /// <param name="type">Of the weights.</param>
    public static IReadOnlyList<KernelLaunch> Launches(CudaBackend backend, string config, DType type)
    {
        (RaggedBatch batch, Action<int, int> forward) = Load(new ObservedBackend(backend) { Uploading = (_, _, _) => true }, config, type);
        return backend.Rehearse(batch, forward);
    }

    /// <summary>A batch, and the operations of a step.</summary>
    /// <param name="backend">Prepared here; it need not take any values.</param>
    /// <param name="config">The model's config.json.</param>
    /// <param name="type">Of the weights.</param>
    public static (RaggedBatch Batch, Action<int, int> Forward) Load(IBackend backend, string config, DType type)
    {
        using UnreadCheckpoint checkpoint = new(type);
        CausalLM model = ModelLoader.Load(ModelConfig.Parse(config), checkpoint, backend, new ModelLoadOptions());
        ModelShape shape = model.Shape;
        StepLimits limits = new(Tokens, Sequences, BlockSize, (shape.MaxContext + BlockSize - 1) / BlockSize);
        backend.Prepare(shape, limits);
        KvCache cache = new(backend, shape, backend.PrecisionFor(type).KvCache, limits.BlocksPerSequence, BlockSize);
        Activations buffers = new(backend, shape, limits);
        RaggedBatch batch = new(limits);
        batch.AddSequence(0, [1], 0, new int[limits.BlocksPerSequence]);
        batch.AddLogitRow();
        return (batch, Forward);

        void Forward(int rows, int logitRows)
        {
            buffers.Resize(rows, logitRows);
            model.Forward(new ForwardPass(backend, batch, cache, buffers));
            backend.Sample(buffers.Logits, batch);
        }
    }
}
