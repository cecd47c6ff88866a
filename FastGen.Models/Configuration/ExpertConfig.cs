using FastGen.Compute;

namespace FastGen.Models;

/// <summary>The configuration of a model whose layers have routed experts.</summary>
internal sealed record ExpertConfig : ModelConfig
{
    /// <summary>Makes it from what all families share.</summary>
    [System.Diagnostics.CodeAnalysis.SetsRequiredMembers]
    public ExpertConfig(ModelConfig common) : base(common)
    {
    }

    /// <summary>Routed experts of a layer.</summary>
    public int Experts { get; init; }

    /// <summary>Experts that each token visits.</summary>
    public int ExpertsPerToken { get; init; }

    /// <summary>Columns between the two products of a routed expert.</summary>
    public int ExpertColumns { get; init; }

    /// <summary>Whether the chosen probabilities are divided by their sum.</summary>
    public bool NormalizeTopK { get; init; }

    /// <summary>Columns between the two products of the shared expert; 0 for none.</summary>
    public int SharedColumns { get; init; }

    /// <summary>Which layers have experts; the others have a dense MLP.</summary>
    public IReadOnlyList<bool> SparseLayers { get; init; } = [];

    /// <summary>Reads what Qwen's families call alike.</summary>
    /// <param name="json">config.json.</param>
    /// <param name="common">What all families share.</param>
    /// <param name="experts">Routed experts where the file does not say.</param>
    /// <param name="expertsPerToken">Experts that a token visits where it does not say.</param>
    /// <param name="expertColumns">Columns of an expert where it does not say.</param>
    public static ExpertConfig ReadQwen(ConfigReader json, ModelConfig common, int experts, int expertsPerToken, int expertColumns) => new(common)
    {
        Experts = json.SizeOrNull("num_experts", "num_local_experts") ?? experts,
        ExpertsPerToken = json.SizeOrNull("num_experts_per_tok") ?? expertsPerToken,
        ExpertColumns = json.SizeOrNull("moe_intermediate_size") ?? expertColumns,
        NormalizeTopK = json.Flag("norm_topk_prob", false),
        SparseLayers = ReadSparseLayers(json, common.Layers),
    };

    /// <summary>Fails where the sizes do not fit together.</summary>
    public ExpertConfig Check(ConfigReader json)
    {
        if (ExpertsPerToken > Experts) throw json.Wrong("num_experts_per_tok", $"at most the number of experts ({Experts})");
        CommonFields.CheckProduct(json, "num_experts_per_tok", (long)Experts * Math.Max(2L * ExpertColumns, HiddenSize));
        return SparseLayers.All(sparse => sparse) || IntermediateSize > 0 ? this : throw json.Missing("intermediate_size");
    }

    /// <inheritdoc/>
    internal override ModelShape ShapeFor(DType weightType) => base.ShapeFor(weightType) with
    {
        MlpColumns = Math.Max(1, Math.Max(SharedColumns, SparseLayers.All(sparse => sparse) ? 0 : IntermediateSize)),
        Experts = Experts,
        ExpertsPerToken = ExpertsPerToken,
        ExpertColumns = ExpertColumns,
    };

    // Every decoder_sparse_step-th, but not those of mlp_only_layers.
    private static IReadOnlyList<bool> ReadSparseLayers(ConfigReader json, int layers)
    {
        int step = json.SizeOrNull("decoder_sparse_step") ?? 1;
        IReadOnlyList<int> dense = json.LayersOrEmpty("mlp_only_layers");
        return [.. Enumerable.Range(0, layers).Select(layer => (layer + 1) % step == 0 && !dense.Contains(layer))];
    }
}
