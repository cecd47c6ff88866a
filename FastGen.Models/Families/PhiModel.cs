using FastGen.Compute;

namespace FastGen.Models;

/// <summary>Phi-1, 1.5 and 2: one layer norm feeds attention and MLP in parallel; partial rotation; biases everywhere.</summary>
internal static class PhiModel
{
    public static ModelConfig ReadConfig(ConfigReader json)
    {
        if (json.TextOrNull("model_type") is "phi-msft") throw json.Unsupported("model_type", "phi; get the current revision of the model");
        return CommonFields.ReadRotary(json, new FamilyDefaults
        {
            MaxContext = 2048,
            NormEpsilon = 1e-5f,
            NormEpsilonField = "layer_norm_eps",
            Activation = "gelu_new",
            RotaryFraction = 0.5,
        }).RequireIntermediateSize(json) with
        { QkvBias = true, AttentionOutputBias = true, MlpBias = true };
    }

    public static CausalLM Build(ModelConfig config, WeightReader weights)
    {
        WeightReader model = weights.Optional("model");
        RotaryTable rotary = new RotaryTable(weights.Loader, config.Rotary!, config.MaxContext);
        Tensor table = model.Matrix("embed_tokens", config.VocabularySize, config.HiddenSize);
        DecoderLayer[] layers = [.. Enumerable.Range(0, config.Layers).Select(layer => ReadLayer(config, model["layers"][layer], layer, rotary))];
        LanguageHead head = new(
            model.LayerNorm("final_layernorm", config.HiddenSize, config.NormEpsilon),
            weights.Head(table, model.Path("embed_tokens.weight"), config, bias: true));
        return new DecoderModel(weights.Backend, config.ShapeFor(weights.Type), new TokenEmbedding(table), layers, head, rotary);
    }

    private static ParallelLayer ReadLayer(ModelConfig config, WeightReader layer, int index, RotaryTable rotary)
    {
        WeightReader attention = layer["self_attn"], mlp = layer["mlp"];
        return new ParallelLayer(
            layer.LayerNorm("input_layernorm", config.HiddenSize, config.NormEpsilon),
            null,
            new SelfAttention(
                attention.Stacked([("q_proj", config.QueryColumns), ("k_proj", config.KvColumns), ("v_proj", config.KvColumns)], config.HiddenSize, bias: true),
                attention.Linear("dense", config.HiddenSize, config.QueryColumns, bias: true),
                SelfAttention.Heads(config, index, rotary), index),
            new Mlp(
                mlp.Linear("fc1", config.IntermediateSize, config.HiddenSize, bias: true),
                mlp.Linear("fc2", config.HiddenSize, config.IntermediateSize, bias: true), config.Activation));
    }
}
