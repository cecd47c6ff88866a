namespace FastGen.Models;

/// <summary>Qwen3: Qwen2 without the biases but with a norm over each query and key head.</summary>
internal static class Qwen3Model
{
    public static ModelConfig ReadConfig(ConfigReader json)
    {
        bool bias = json.Flag("attention_bias", false);
        ModelConfig config = Qwen2Model.ReadDenseConfig(json, headDim: 128).RequireIntermediateSize(json);
        return config with { QkvBias = bias, AttentionOutputBias = bias };
    }

    public static CausalLM Build(ModelConfig config, WeightReader weights) => LlamaParts.BuildModel(config, weights, (layer, index, rotary) => LlamaParts.Layer(
        config, layer,
        LlamaParts.Attention(config, layer["self_attn"], index, rotary, headNorms: true),
        LlamaParts.Mlp(config, layer["mlp"])));
}
