namespace FastGen.Models;

/// <summary>Phi-3 and Phi-4-mini: Llama with fused projections, and longrope for the long versions.</summary>
internal static class Phi3Model
{
    public static ModelConfig ReadConfig(ConfigReader json) => CommonFields.ReadRotary(json, new FamilyDefaults
    {
        MaxContext = 4096,
        NormEpsilon = 1e-5f,
        RotaryFraction = 1,
        OriginalContext = 4096,
        HasWindow = true,
    }).RequireIntermediateSize(json);

    public static CausalLM Build(ModelConfig config, WeightReader weights) => LlamaParts.BuildModel(config, weights, (layer, index, rotary) => LlamaParts.Layer(
        config, layer,
        new SelfAttention(
            layer["self_attn"].Linear("qkv_proj", config.QueryColumns + (2 * config.KvColumns), config.HiddenSize),
            layer["self_attn"].Linear("o_proj", config.HiddenSize, config.QueryColumns),
            SelfAttention.Heads(config, index, rotary), index),
        new GatedMlp(
            layer["mlp"].Linear("gate_up_proj", 2 * config.IntermediateSize, config.HiddenSize),
            layer["mlp"].Linear("down_proj", config.HiddenSize, config.IntermediateSize), config.Activation)));
}
