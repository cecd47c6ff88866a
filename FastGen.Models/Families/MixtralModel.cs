namespace FastGen.Models;

/// <summary>Mixtral: Mistral with the MLP replaced by experts, of which each token visits two.</summary>
internal static class MixtralModel
{
    public static ModelConfig ReadConfig(ConfigReader json)
    {
        ModelConfig common = CommonFields.ReadRotary(json, new FamilyDefaults { MaxContext = 131072, NormEpsilon = 1e-5f, Theta = 1e6, KvHeads = 8, HasWindow = true }).RequireIntermediateSize(json);
        return new ExpertConfig(common)
        {
            Experts = json.SizeOrNull("num_local_experts", "num_experts") ?? 8,
            ExpertsPerToken = json.SizeOrNull("num_experts_per_tok") ?? 2,
            ExpertColumns = common.IntermediateSize,
            NormalizeTopK = true,
            SparseLayers = [.. Enumerable.Repeat(true, common.Layers)],
        }.Check(json);
    }

    public static CausalLM Build(ModelConfig config, WeightReader weights)
    {
        ExpertConfig experts = (ExpertConfig)config;
        return LlamaParts.BuildModel(config, weights, (layer, index, rotary) => LlamaParts.Layer(
            config, layer,
            LlamaParts.Attention(config, layer["self_attn"], index, rotary),
            new SparseMlp(LlamaParts.Experts(experts, layer.Either("block_sparse_moe", "mlp"), gate: "w1", up: "w3", down: "w2"))));
    }
}
