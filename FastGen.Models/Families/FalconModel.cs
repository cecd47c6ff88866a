using FastGen.Compute;

namespace FastGen.Models;

/// <summary>
/// Falcon in its four forms: 7B (parallel, multi-query, one norm), 40B and 180B (parallel, grouped, two norms), 11B (parallel,
/// grouped, one norm), RW (sequential, ALiBi, biases).
/// </summary>
internal static class FalconModel
{
    public static ModelConfig ReadConfig(ConfigReader json)
    {
        json.RequireAbsent("apply_residual_connection_post_layernorm");
        FamilyDefaults defaults = new()
        {
            MaxContext = 2048,
            NormEpsilon = 1e-5f,
            NormEpsilonField = "layer_norm_epsilon",
            Activation = "gelu",
            ActivationField = "activation",
            TieWordEmbeddings = true,
        };
        // The first release marked the grouped form by n_head_kv alone.
        bool isGrouped = json.Flag("new_decoder_architecture", json.Has("n_head_kv")), isParallel = json.Flag("parallel_attn", true), alibi = json.Flag("alibi", false);
        bool multiQuery = json.Flag("multi_query", true), bias = json.Flag("bias", false);
        if (isGrouped) json.RequireFlag("parallel_attn", true);
        ModelConfig common = alibi ? CommonFields.Read(json, defaults) : CommonFields.ReadRotary(json, defaults);
        int kvHeads = isGrouped ? common.KvHeads : multiQuery ? 1 : common.Heads;
        int norms = json.SizeOrNull("num_ln_in_parallel_attn") ?? (isGrouped ? 2 : 1);
        if (norms > 2) throw json.Unsupported("num_ln_in_parallel_attn", "1, 2");
        return new FalconConfig(common)
        {
            KvHeads = kvHeads,
            IntermediateSize = common.IntermediateSize > 0 ? common.IntermediateSize : checked(4 * common.HiddenSize),
            QkvBias = bias,
            AttentionOutputBias = bias,
            MlpBias = bias,
            IsParallel = isParallel,
            HasTwoNorms = isGrouped && norms == 2,
            IsInterleaved = isGrouped || !multiQuery,
            AlibiScale = alibi ? (float)(1 / Math.Sqrt(common.HeadDim)) : 0,
        };
    }

    public static CausalLM Build(ModelConfig config, WeightReader weights)
    {
        FalconConfig falcon = (FalconConfig)config;
        WeightReader model = weights.Optional("transformer");
        RotaryTable? rotary = config.Rotary is null ? null : new RotaryTable(weights.Loader, config.Rotary, config.MaxContext);
        Tensor? slopes = falcon.AlibiScale > 0 ? weights.Loader.Compute(1, config.Heads, (_, values) => FillSlopes(falcon, values)) : null;
        Tensor table = model.Matrix("word_embeddings", config.VocabularySize, config.HiddenSize);
        DecoderLayer[] layers = [.. Enumerable.Range(0, config.Layers).Select(layer => ReadLayer(falcon, model["h"][layer], layer, rotary, slopes))];
        LanguageHead head = new(
            model.LayerNorm("ln_f", config.HiddenSize, config.NormEpsilon),
            weights.Head(table, model.Path("word_embeddings.weight"), config));
        return new DecoderModel(weights.Backend, config.ShapeFor(weights.Type), new TokenEmbedding(table), layers, head, rotary);
    }

    private static DecoderLayer ReadLayer(FalconConfig config, WeightReader layer, int index, RotaryTable? rotary, Tensor? slopes)
    {
        WeightReader attention = layer["self_attention"], mlp = layer["mlp"];
        NormWeights Norm(string name) => layer.LayerNorm(name, config.HiddenSize, config.NormEpsilon);
        SelfAttention self = new(
            attention.Reordered("query_key_value", config.QueryColumns + (2 * config.KvColumns), config.HiddenSize, QkvOrder(config), config.QkvBias),
            attention.Linear("dense", config.HiddenSize, config.QueryColumns, config.AttentionOutputBias),
            SelfAttention.Heads(config, index, rotary) with { AlibiSlopes = slopes }, index);
        Mlp feedForward = new(
            mlp.Linear("dense_h_to_4h", config.IntermediateSize, config.HiddenSize, config.MlpBias),
            mlp.Linear("dense_4h_to_h", config.HiddenSize, config.IntermediateSize, config.MlpBias), config.Activation);
        if (!config.IsParallel) return new SequentialLayer(Norm("input_layernorm"), self, Norm("post_attention_layernorm"), feedForward);
        return config.HasTwoNorms
            ? new ParallelLayer(Norm("ln_mlp"), Norm("ln_attn"), self, feedForward)
            : new ParallelLayer(Norm("input_layernorm"), null, self, feedForward);
    }

    // Rows of the fused tensor as [q | k | v]. Interleaved, each key/value head comes after the queries that share it.
    private static (int First, int Count)[] QkvOrder(FalconConfig config)
    {
        if (!config.IsInterleaved) return [(0, config.QueryColumns + (2 * config.KvColumns))];
        int queries = config.QueryColumns / config.KvHeads, group = queries + (2 * config.HeadDim);
        IEnumerable<int> starts = Enumerable.Range(0, config.KvHeads).Select(head => head * group);
        return
        [
            .. starts.Select(start => (start, queries)),
            .. starts.Select(start => (start + queries, config.HeadDim)),
            .. starts.Select(start => (start + queries + config.HeadDim, config.HeadDim)),
        ];
    }

    // Slopes of Press et al. (2022), in the 16 bits that Falcon was trained with.
    private static void FillSlopes(FalconConfig config, Span<float> slopes)
    {
        int power = 1 << (int)Math.Log2(config.Heads);
        for (int head = 0; head < config.Heads; head++)
        {
            double exponent = head < power ? -8.0 * (head + 1) / power : -4.0 * ((2 * (head - power)) + 1) / power;
            slopes[head] = ToBFloat16((float)Math.Pow(2, exponent)) * config.AlibiScale;
        }
    }

    // Rounds to nearest, ties to even.
    private static float ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF_0000);
    }

    /// <summary>What tells the forms apart.</summary>
    internal sealed record FalconConfig : ModelConfig
    {
        [System.Diagnostics.CodeAnalysis.SetsRequiredMembers]
        public FalconConfig(ModelConfig common) : base(common)
        {
        }

        public bool IsParallel { get; init; }

        public bool HasTwoNorms { get; init; }

        public bool IsInterleaved { get; init; }

        /// <summary>Factor on ALiBi slopes, 0 for no ALiBi. Falcon adds them before it scales the scores, hence 1/√(head columns).</summary>
        public float AlibiScale { get; init; }
    }
}
