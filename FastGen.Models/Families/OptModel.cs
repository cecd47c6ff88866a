using FastGen.Compute;

namespace FastGen.Models;

/// <summary>OPT: learned positions, layer norm before each part (after it in the 350m), plain MLP; the 350m projects its embeddings.</summary>
internal static class OptModel
{
    // Positions begin at row 2 of their table, as in fairseq.
    private const int PositionOffset = 2;

    public static ModelConfig ReadConfig(ConfigReader json)
    {
        ModelConfig common = CommonFields.Read(json, new FamilyDefaults
        {
            MaxContext = 2048,
            NormEpsilon = 1e-5f,
            NormEpsilonField = null,
            Activation = "relu",
            ActivationField = "activation_function",
            TieWordEmbeddings = true,
        });
        if (common.IntermediateSize == 0) throw json.Missing("ffn_dim");
        bool bias = json.Flag("enable_bias", true), isPreNorm = json.Flag("do_layer_norm_before", true);
        return new OptConfig(common)
        {
            QkvBias = bias,
            AttentionOutputBias = bias,
            MlpBias = bias,
            IsPreNorm = isPreNorm,
            HasFinalNorm = isPreNorm && !json.Flag("_remove_final_layer_norm", false),
            HasPlainNorms = !json.Flag("layer_norm_elementwise_affine", true),
            EmbeddingColumns = json.SizeOrNull("word_embed_proj_dim") ?? common.HiddenSize,
        };
    }

    public static CausalLM Build(ModelConfig config, WeightReader weights)
    {
        OptConfig opt = (OptConfig)config;
        WeightReader decoder = weights.Optional("model")["decoder"];
        bool isProjected = opt.EmbeddingColumns != config.HiddenSize;
        Tensor table = decoder.Matrix("embed_tokens", config.VocabularySize, opt.EmbeddingColumns);
        TokenEmbedding embedding = new(table)
        {
            Projection = isProjected ? decoder.Linear("project_in", config.HiddenSize, opt.EmbeddingColumns) : null,
            Positions = decoder.Table("embed_positions", config.MaxContext + PositionOffset, config.HiddenSize),
            PositionOffset = PositionOffset,
        };
        DecoderLayer[] layers = [.. Enumerable.Range(0, config.Layers).Select(layer => ReadLayer(opt, decoder["layers"][layer], layer))];
        LanguageHead head = new(
            opt.HasFinalNorm ? Norm(opt, decoder, "final_layer_norm") : null,
            weights.Head(table, decoder.Path("embed_tokens.weight"), config))
        {
            Projection = isProjected ? decoder.Linear("project_out", opt.EmbeddingColumns, config.HiddenSize) : null,
        };
        return new DecoderModel(weights.Backend, config.ShapeFor(weights.Type), embedding, layers, head, null);
    }

    private static DecoderLayer ReadLayer(OptConfig config, WeightReader layer, int index)
    {
        WeightReader attention = layer["self_attn"];
        SelfAttention self = new(
            attention.Stacked([("q_proj", config.QueryColumns), ("k_proj", config.KvColumns), ("v_proj", config.KvColumns)], config.HiddenSize, config.QkvBias),
            attention.Linear("out_proj", config.HiddenSize, config.QueryColumns, config.AttentionOutputBias),
            SelfAttention.Heads(config, index, null), index);
        Mlp feedForward = new(
            layer.Linear("fc1", config.IntermediateSize, config.HiddenSize, config.MlpBias),
            layer.Linear("fc2", config.HiddenSize, config.IntermediateSize, config.MlpBias), config.Activation);
        NormWeights attentionNorm = Norm(config, layer, "self_attn_layer_norm"), feedForwardNorm = Norm(config, layer, "final_layer_norm");
        return config.IsPreNorm
            ? new SequentialLayer(attentionNorm, self, feedForwardNorm, feedForward)
            : new PostNormLayer(self, attentionNorm, feedForward, feedForwardNorm);
    }

    private static NormWeights Norm(OptConfig config, WeightReader parent, string name) => config.HasPlainNorms
        ? parent.PlainLayerNorm(name, config.HiddenSize, config.NormEpsilon)
        : parent.LayerNorm(name, config.HiddenSize, config.NormEpsilon);

    private sealed record OptConfig : ModelConfig
    {
        [System.Diagnostics.CodeAnalysis.SetsRequiredMembers]
        public OptConfig(ModelConfig common) : base(common)
        {
        }

        public bool IsPreNorm { get; init; }

        public bool HasFinalNorm { get; init; }

        /// <summary>Norms only normalize (Galactica).</summary>
        public bool HasPlainNorms { get; init; }

        public int EmbeddingColumns { get; init; }

        internal override ModelShape ShapeFor(DType weightType) => base.ShapeFor(weightType) with
        {
            EmbeddingColumns = EmbeddingColumns == HiddenSize ? 0 : EmbeddingColumns,
        };
    }
}
