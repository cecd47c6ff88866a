using FastGen.Compute;

namespace FastGen.Models;

/// <summary>The part of a layer after attention: hidden += f(input).</summary>
internal abstract class FeedForward
{
    public abstract void Forward(in ForwardPass pass, in LinearInput input);

    /// <summary>The MLP buffer, as wide as this MLP; layers of one model may differ.</summary>
    protected static Tensor Between(in ForwardPass pass, LinearWeights down) => pass.Buffers.Mlp with { Columns = down.Inputs };
}

/// <summary>hidden += down(activation(up(input))).</summary>
internal sealed class Mlp(LinearWeights up, LinearWeights down, Activation activation) : FeedForward
{
    public LinearWeights Up => up;

    public LinearWeights Down => down;

    public Activation Activation => activation;

    /// <summary>Where the values between the two products go.</summary>
    public Tensor Between(in ForwardPass pass) => Between(pass, down);

    public override void Forward(in ForwardPass pass, in LinearInput input)
    {
        Tensor between = Between(pass);
        pass.Backend.Linear(between, input, up, activation);
        pass.Backend.Linear(pass.Buffers.Hidden, new LinearInput(between), down, accumulate: true);
    }
}

/// <summary>hidden += down(activation(gate(input)) ⊙ up(input)).</summary>
internal sealed class GatedMlp(LinearWeights gateUp, LinearWeights down, Activation activation) : FeedForward
{
    public override void Forward(in ForwardPass pass, in LinearInput input)
    {
        Tensor between = Between(pass, down);
        pass.Backend.GatedLinear(between, input, gateUp, activation);
        pass.Backend.Linear(pass.Buffers.Hidden, new LinearInput(between), down, accumulate: true);
    }
}

/// <summary>hidden += the sum of the chosen experts' outputs.</summary>
internal sealed class SparseMlp(ExpertWeights experts) : FeedForward
{
    public override void Forward(in ForwardPass pass, in LinearInput input) => pass.Backend.MixtureOfExperts(pass.Buffers.Hidden, input, experts);
}

/// <summary>hidden += the sum of the chosen experts' outputs + sigmoid(gate(input)) · shared expert(input).</summary>
internal sealed class SharedSparseMlp(ExpertWeights experts, LinearWeights sharedGateUp, LinearWeights sharedDown, LinearWeights sharedGate) : FeedForward
{
    public override void Forward(in ForwardPass pass, in LinearInput input)
    {
        (IBackend backend, Activations buffers) = (pass.Backend, pass.Buffers);
        LinearInput normed = input;
        if (input.Norm is { } norm)
        {
            // Both parts add to the residual stream, so neither may read it after the other.
            backend.Norm(buffers.Normed, input.Rows, norm);
            normed = new LinearInput(buffers.Normed);
        }
        Tensor between = Between(pass, sharedDown);
        backend.GatedLinear(between, normed, sharedGateUp, experts.Activation);
        backend.AddGated(buffers.Hidden, normed, sharedGate, between, sharedDown);
        backend.MixtureOfExperts(buffers.Hidden, normed, experts);
    }
}
