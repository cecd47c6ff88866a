using FastGen.Compute;

namespace FastGen.Models;

/// <summary>Parts under the names that Llama's checkpoints gave them and most later families kept.</summary>
internal static class LlamaParts
{
    /// <summary>Reads embedding, layers and head around what <paramref name="readLayer"/> gives for each layer's weights and number.</summary>
    public static DecoderModel BuildModel(ModelConfig config, WeightReader weights, Func<WeightReader, int, RotaryTable?, DecoderLayer> readLayer)
    {
        WeightReader model = weights.Optional("model");
        RotaryTable? rotary = config.Rotary is null ? null : RotaryTable.Create(weights.Loader, config.Rotary, config.MaxContext);
        Tensor table = model.Matrix("embed_tokens", config.VocabularySize, config.HiddenSize);
        DecoderLayer[] layers = [.. Enumerable.Range(0, config.Layers).Select(layer => readLayer(model["layers"][layer], layer, rotary))];
        LanguageHead head = new(
            model.RmsNorm("norm", config.HiddenSize, config.NormEpsilon),
            weights.Head(table, model.Path("embed_tokens.weight"), config));
        return new DecoderModel(weights.Backend, config.ShapeFor(weights.Type), new TokenEmbedding(table), layers, head, rotary);
    }

    /// <summary>A layer with both of Llama's norms.</summary>
    public static SequentialLayer Layer(ModelConfig config, WeightReader layer, SelfAttention attention, FeedForward feedForward) => new(
        layer.RmsNorm("input_layernorm", config.HiddenSize, config.NormEpsilon), attention,
        layer.RmsNorm("post_attention_layernorm", config.HiddenSize, config.NormEpsilon), feedForward);

    /// <summary>Attention with three projections of the input.</summary>
    public static SelfAttention Attention(ModelConfig config, WeightReader attention, int layer, RotaryTable? rotary, bool headNorms = false) => new(
        attention.Stacked([("q_proj", config.QueryColumns), ("k_proj", config.KvColumns), ("v_proj", config.KvColumns)], config.HiddenSize, config.QkvBias),
        attention.Linear("o_proj", config.HiddenSize, config.QueryColumns, config.AttentionOutputBias),
        Heads(config, layer, rotary) with
        {
            QueryNorm = headNorms ? attention.RmsNorm("q_norm", config.HeadDim, config.NormEpsilon) : null,
            KeyNorm = headNorms ? attention.RmsNorm("k_norm", config.HeadDim, config.NormEpsilon) : null,
        },
        layer);

    /// <summary>The heads of a layer, their scores scaled by 1/√(head columns).</summary>
    public static AttentionWeights Heads(ModelConfig config, int layer, RotaryTable? rotary) => new()
    {
        Heads = config.Heads,
        KvHeads = config.KvHeads,
        HeadDim = config.HeadDim,
        Scale = (float)(1 / Math.Sqrt(config.HeadDim)),
        Window = config.Windows[layer],
        Rotary = rotary?.Rows,
    };

    /// <summary>A gated MLP with three projections.</summary>
    public static GatedMlp Mlp(ModelConfig config, WeightReader mlp) => new(
        mlp.Stacked([("gate_proj", config.IntermediateSize), ("up_proj", config.IntermediateSize)], config.HiddenSize, config.MlpBias),
        mlp.Linear("down_proj", config.HiddenSize, config.IntermediateSize, config.MlpBias),
        config.Activation);
}
