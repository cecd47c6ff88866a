using FastGen.Compute;

namespace FastGen.Models;

/// <summary>Parts under the names that Llama's checkpoints gave them and most later families kept.</summary>
internal static class LlamaParts
{
    /// <summary>Reads embedding, layers and head around what <paramref name="readLayer"/> gives for each layer's weights and number.</summary>
    public static DecoderModel BuildModel(ModelConfig config, WeightReader weights, Func<WeightReader, int, RotaryTable?, DecoderLayer> readLayer)
    {
        WeightReader model = weights.Optional("model");
        RotaryTable? rotary = config.Rotary is null ? null : new RotaryTable(weights.Loader, config.Rotary, config.MaxContext);
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
        SelfAttention.Heads(config, layer, rotary) with
        {
            QueryNorm = headNorms ? attention.RmsNorm("q_norm", config.HeadDim, config.NormEpsilon) : null,
            KeyNorm = headNorms ? attention.RmsNorm("k_norm", config.HeadDim, config.NormEpsilon) : null,
        },
        layer);

    /// <summary>A gated MLP with three projections.</summary>
    public static GatedMlp Mlp(ModelConfig config, WeightReader mlp) => new(
        mlp.Stacked([("gate_proj", config.IntermediateSize), ("up_proj", config.IntermediateSize)], config.HiddenSize, config.MlpBias),
        mlp.Linear("down_proj", config.HiddenSize, config.IntermediateSize, config.MlpBias),
        config.Activation);

    /// <summary>Routed experts under the names that they have in a family, or in the fused form that transformers 5 computes with and may save.</summary>
    /// <param name="config">The model.</param>
    /// <param name="moe">Where router and experts are.</param>
    /// <param name="gate">Name of a gate within an expert.</param>
    /// <param name="up">Name of an up projection.</param>
    /// <param name="down">Name of a down projection.</param>
    public static ExpertWeights Experts(ExpertConfig config, WeightReader moe, string gate, string up, string down)
    {
        WeightReader experts = moe["experts"];
        IEnumerable<int> all = Enumerable.Range(0, config.Experts);
        return new ExpertWeights
        {
            Router = moe.Linear("gate", config.Experts, config.HiddenSize),
            GateUp = experts.FusedMatrices("gate_up_proj", config.Experts, 2 * config.ExpertColumns, config.HiddenSize) ?? experts.StackedMatrix(all.SelectMany(expert => new[] { ($"{expert}.{gate}", config.ExpertColumns), ($"{expert}.{up}", config.ExpertColumns) }), config.HiddenSize),
            Down = experts.FusedMatrices("down_proj", config.Experts, config.HiddenSize, config.ExpertColumns) ?? experts.StackedMatrix(all.Select(expert => ($"{expert}.{down}", config.HiddenSize)), config.ExpertColumns),
            Experts = config.Experts,
            TopK = config.ExpertsPerToken,
            NormalizeTopK = config.NormalizeTopK,
            Activation = config.Activation,
        };
    }
}
