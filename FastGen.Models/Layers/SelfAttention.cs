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

    /// <summary>The projection that ends it.</summary>
    public LinearWeights Output => output;

    public void Forward(in ForwardPass pass, in LinearInput input)
    {
        Project(pass, input);
        pass.Backend.Linear(pass.Buffers.Hidden, new LinearInput(Attend(pass)), output, accumulate: true);
    }

    /// <summary>Queries, keys and values of the input; those of the cache are stored.</summary>
    public void Project(in ForwardPass pass, in LinearInput input) => pass.Backend.ProjectQkv(pass.Buffers.Qkv, input, qkv, pass.Cache[layer], weights, pass.Batch);

    /// <summary>The same, and the first half of an MLP of the same input.</summary>
    public void ProjectBeside(in ForwardPass pass, in LinearInput input, Tensor between, Mlp mlp) =>
        pass.Backend.ProjectQkvAndUp(pass.Buffers.Qkv, between, input, qkv, mlp.Up, mlp.Activation, pass.Cache[layer], weights, pass.Batch);

    /// <summary>Attention of what was projected, before the last projection.</summary>
    public Tensor Attend(in ForwardPass pass)
    {
        pass.Backend.Attention(pass.Buffers.Attended, pass.Buffers.Qkv, pass.Cache[layer], weights, pass.Batch);
        return pass.Buffers.Attended;
    }
}
