namespace FastGen.Models;

/// <summary>
/// Llama 1 to 3.x, Mistral, and the many models of their shape (Yi, TinyLlama, SmolLM2, CodeLlama, …): RMS norm, rotary
/// grouped-query attention, gated MLP.
/// </summary>
internal static class LlamaModel
{
    public static ModelConfig ReadConfig(ConfigReader json)
    {
        ModelConfig config = CommonFields.ReadRotary(json, new FamilyDefaults { MaxContext = 2048, NormEpsilon = 1e-6f });
        bool attentionBias = json.Flag("attention_bias", false);
        return config.RequireIntermediateSize(json) with { QkvBias = attentionBias, AttentionOutputBias = attentionBias, MlpBias = json.Flag("mlp_bias", false) };
    }

    public static ModelConfig ReadMistralConfig(ConfigReader json) =>
        CommonFields.ReadRotary(json, new FamilyDefaults { MaxContext = 131072, NormEpsilon = 1e-6f, KvHeads = 8, HasWindow = true, SlidingWindow = 4096 }).RequireIntermediateSize(json);

    public static CausalLM Build(ModelConfig config, WeightReader weights) => LlamaParts.BuildModel(config, weights, (layer, index, rotary) => LlamaParts.Layer(
        config, layer,
        LlamaParts.Attention(config, layer["self_attn"], index, rotary),
        LlamaParts.Mlp(config, layer["mlp"])));
}
