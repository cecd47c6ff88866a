using FastGen.Compute;

namespace FastGen;

/// <summary>What every layer needs while one batch flows through it.</summary>
/// <param name="Backend">Where operations are queued.</param>
/// <param name="Batch">The step's work.</param>
/// <param name="Cache">Keys and values of all layers.</param>
/// <param name="Buffers">Activations, sized for this step.</param>
public readonly record struct ForwardPass(IBackend Backend, RaggedBatch Batch, KvCache Cache, Activations Buffers);

/// <summary>A decoder that turns a ragged batch into next-token logits.</summary>
public abstract class CausalLM(IBackend backend, ModelShape shape)
{
    /// <summary>The backend that holds the weights.</summary>
    public IBackend Backend { get; } = backend;

    /// <summary>The model's sizes.</summary>
    public ModelShape Shape { get; } = shape;

    /// <summary>Queues the operations of one step; leaves a row in <see cref="Activations.Logits"/> for each logit row of the batch.</summary>
    public abstract void Forward(in ForwardPass pass);

    /// <summary>Added to positions of a sequence to find its rows of the rotary table (longrope keeps two tables); 0 for most models.</summary>
    /// <param name="promptLength">Tokens of the prompt, or of the whole sequence when it was computed anew beyond <see cref="ModelShape.RecomputeBeyond"/>.</param>
    public virtual int RotaryBase(int promptLength) => 0;
}
