using FastGen.Compute;

namespace FastGen.Models;

/// <summary>One layer of a decoder: it reads and updates the residual stream.</summary>
internal abstract class DecoderLayer
{
    public abstract void Forward(in ForwardPass pass);
}

/// <summary>h += attention(norm(h)); h += feedForward(norm(h)).</summary>
internal sealed class SequentialLayer(NormWeights attentionNorm, SelfAttention attention, NormWeights feedForwardNorm, FeedForward feedForward) : DecoderLayer
{
    public override void Forward(in ForwardPass pass)
    {
        attention.Forward(pass, new LinearInput(pass.Buffers.Hidden, attentionNorm));
        feedForward.Forward(pass, new LinearInput(pass.Buffers.Hidden, feedForwardNorm));
    }
}

/// <summary>h += attention(norm(h)) + mlp(norm(h)), with one norm for both or one each.</summary>
internal sealed class ParallelLayer(NormWeights mlpNorm, NormWeights? attentionNorm, SelfAttention attention, Mlp mlp) : DecoderLayer
{
    public override void Forward(in ForwardPass pass)
    {
        (Tensor hidden, Tensor between) = (pass.Buffers.Hidden, mlp.Between(pass));
        LinearInput input = new(hidden, mlpNorm);
        if (attentionNorm is null)
        {
            attention.ProjectBeside(pass, input, between, mlp);
        }
        else
        {
            pass.Backend.Linear(between, input, mlp.Up, mlp.Activation);
            attention.Project(pass, new LinearInput(hidden, attentionNorm));
        }
        pass.Backend.LinearSum(hidden, attention.Attend(pass), attention.Output, between, mlp.Down);
    }
}

/// <summary>h = norm(h + attention(h)); h = norm(h + feedForward(h)).</summary>
internal sealed class PostNormLayer(SelfAttention attention, NormWeights attentionNorm, FeedForward feedForward, NormWeights feedForwardNorm) : DecoderLayer
{
    public override void Forward(in ForwardPass pass)
    {
        Tensor hidden = pass.Buffers.Hidden;
        attention.Forward(pass, new LinearInput(hidden));
        pass.Backend.Norm(hidden, hidden, attentionNorm);
        feedForward.Forward(pass, new LinearInput(hidden));
        pass.Backend.Norm(hidden, hidden, feedForwardNorm);
    }
}
