namespace FastGen.Models;

/// <summary>Qwen 1.5 and 2 MoE: Qwen2 with routed experts and one shared expert behind a gate.</summary>
internal static class Qwen2MoeModel
{
    public static ModelConfig ReadConfig(ConfigReader json)
    {
        ModelConfig common = CommonFields.ReadRotary(json, new FamilyDefaults { MaxContext = 32768, NormEpsilon = 1e-6f, KvHeads = 16 });
        int windowedLayers = json.CountOrNull("max_window_layers") ?? 28;
        ExpertConfig experts = ExpertConfig.ReadQwen(json, common, experts: 60, expertsPerToken: 4, expertColumns: 1408) with
        {
            QkvBias = json.Flag("qkv_bias", true),
            // Unlike Qwen2's, this family's class windows every other one of the first layers.
            Windows = CommonFields.ReadWindows(json, common.Layers, Qwen2Model.Window(json), layer => layer % 2 == 0 && layer < windowedLayers),
            SharedColumns = json.SizeOrNull("shared_expert_intermediate_size") ?? 5632,
        };
        return experts.Check(json);
    }

    public static CausalLM Build(ModelConfig config, WeightReader weights)
    {
        ExpertConfig experts = (ExpertConfig)config;
        return LlamaParts.BuildModel(config, weights, (layer, index, rotary) => LlamaParts.Layer(
            config, layer,
            LlamaParts.Attention(config, layer["self_attn"], index, rotary),
            experts.SparseLayers[index] ? ReadSparse(experts, layer["mlp"]) : LlamaParts.Mlp(config, layer["mlp"])));
    }

    private static SharedSparseMlp ReadSparse(ExpertConfig config, WeightReader mlp)
    {
        WeightReader shared = mlp["shared_expert"];
        return new SharedSparseMlp(
            LlamaParts.Experts(config, mlp, gate: "gate_proj", up: "up_proj", down: "down_proj"),
            shared.Stacked([("gate_proj", config.SharedColumns), ("up_proj", config.SharedColumns)], config.HiddenSize),
            shared.Linear("down_proj", config.HiddenSize, config.SharedColumns),
            mlp.Linear("shared_expert_gate", 1, config.HiddenSize));
    }
}
