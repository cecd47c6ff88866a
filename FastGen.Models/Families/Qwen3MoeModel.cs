namespace FastGen.Models;

/// <summary>Qwen3 MoE: Qwen3 with routed experts.</summary>
internal static class Qwen3MoeModel
{
    public static ModelConfig ReadConfig(ConfigReader json)
    {
        bool bias = json.Flag("attention_bias", false);
        ModelConfig common = CommonFields.ReadRotary(json, new FamilyDefaults { MaxContext = 32768, NormEpsilon = 1e-6f, KvHeads = 4 });
        return new ExpertConfig(common)
        {
            QkvBias = bias,
            AttentionOutputBias = bias,
            Windows = CommonFields.ReadWindows(json, common.Layers, Qwen2Model.Window(json)),
            Experts = json.SizeOrNull("num_experts", "num_local_experts") ?? 128,
            ExpertsPerToken = json.SizeOrNull("num_experts_per_tok") ?? 8,
            ExpertColumns = json.SizeOrNull("moe_intermediate_size") ?? 768,
            NormalizeTopK = json.Flag("norm_topk_prob", false),
            SparseLayers = ExpertConfig.ReadSparseLayers(json, common.Layers),
        }.Check(json);
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
