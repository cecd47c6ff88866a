namespace FastGen.Models;

/// <summary>Qwen3 MoE: Qwen3 with routed experts.</summary>
internal static class Qwen3MoeModel
{
    public static ModelConfig ReadConfig(ConfigReader json)
    {
        bool bias = json.Flag("attention_bias", false);
        ModelConfig common = CommonFields.ReadRotary(json, new FamilyDefaults { MaxContext = 32768, NormEpsilon = 1e-6f, KvHeads = 4 });
        ExpertConfig experts = ExpertConfig.ReadQwen(json, common, experts: 128, expertsPerToken: 8, expertColumns: 768) with
        {
            QkvBias = bias,
            AttentionOutputBias = bias,
            Windows = CommonFields.ReadWindows(json, common.Layers, Qwen2Model.Window(json)),
        };
        return experts.Check(json);
    }

    public static CausalLM Build(ModelConfig config, WeightReader weights)
    {
        ExpertConfig experts = (ExpertConfig)config;
        return LlamaParts.BuildModel(config, weights, (layer, index, rotary) => LlamaParts.Layer(
            config, layer,
            LlamaParts.Attention(config, layer["self_attn"], index, rotary, headNorms: true),
            experts.SparseLayers[index]
                ? new SparseMlp(LlamaParts.Experts(experts, layer["mlp"], gate: "gate_proj", up: "up_proj", down: "down_proj"))
                : LlamaParts.Mlp(config, layer["mlp"])));
    }
}
