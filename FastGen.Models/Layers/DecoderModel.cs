using FastGen.Compute;

namespace FastGen.Models;

/// <summary>What all families have in common: embedding, layers, head. What differs is how a family wires its layers.</summary>
internal sealed class DecoderModel(IBackend backend, ModelShape shape, TokenEmbedding embedding, IReadOnlyList<DecoderLayer> layers, LanguageHead head, RotaryTable? rotary)
    : CausalLM(backend, shape)
{
    private readonly DecoderLayer[] _layers = [.. layers];

    public override void Forward(in ForwardPass pass)
    {
        embedding.Forward(pass);
        foreach (DecoderLayer layer in _layers) layer.Forward(pass);
        head.Forward(pass);
    }

    public override int RotaryBase(int promptLength) => rotary?.BaseFor(promptLength) ?? 0;
}
