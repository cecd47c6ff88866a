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

/// <summary>h += attention(norm(h)) + feedForward(norm(h)), with one norm for both or one each.</summary>
internal sealed class ParallelLayer(NormWeights feedForwardNorm, NormWeights? attentionNorm, SelfAttention attention, FeedForward feedForward) : DecoderLayer
{
    public override void Forward(in ForwardPass pass)
    {
        // Attention adds to the residual stream, so what the feed-forward part reads is computed first.
        (Tensor hidden, Tensor normed) = (pass.Buffers.Hidden, pass.Buffers.Normed);
        pass.Backend.Norm(normed, hidden, feedForwardNorm);
        attention.Forward(pass, attentionNorm is null ? new LinearInput(normed) : new LinearInput(hidden, attentionNorm));
        feedForward.Forward(pass, new LinearInput(normed));
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
