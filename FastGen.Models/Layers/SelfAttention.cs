using FastGen.Compute;

namespace FastGen.Models;

/// <summary>hidden += output(attention(qkv(input))).</summary>
internal sealed class SelfAttention(LinearWeights qkv, LinearWeights output, AttentionWeights weights, int layer)
{
    /// <summary>The heads of a layer, their scores scaled by 1/√(head columns).</summary>
    public static AttentionWeights Heads(ModelConfig config, int layer, RotaryTable? rotary) => new()
    {
        Heads = config.Heads,
        KvHeads = config.KvHeads,
        HeadDim = config.HeadDim,
        Scale = (float)(1 / Math.Sqrt(config.HeadDim)),
        Window = config.WindowOf(layer),
        Rotary = rotary?.Rows,
    };

    public void Forward(in ForwardPass pass, in LinearInput input)
    {
        (IBackend backend, Activations buffers, KvLayer cache) = (pass.Backend, pass.Buffers, pass.Cache[layer]);
        backend.ProjectQkv(buffers.Qkv, input, qkv, cache, weights, pass.Batch);
        backend.Attention(buffers.Attended, buffers.Qkv, cache, weights, pass.Batch);
        backend.Linear(buffers.Hidden, new LinearInput(buffers.Attended), output, accumulate: true);
    }
}
