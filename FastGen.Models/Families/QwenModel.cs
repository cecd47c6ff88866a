using FastGen.Compute;

namespace FastGen.Models;

/// <summary>Qwen's first generation: Llama's arithmetic under GPT-2's names, with a fused, biased qkv and two devices for long prompts.</summary>
internal static class QwenModel
{
    public static ModelConfig ReadConfig(ConfigReader json)
    {
        json.RequireAbsent("visual");
        json.RequireAbsent("use_cache_quantization");
        FamilyDefaults defaults = new() { MaxContext = 8192, NormEpsilon = 1e-6f, NormEpsilonField = "layer_norm_epsilon", RotaryFraction = 1 };
        ModelConfig common = CommonFields.Read(json, defaults).RequireIntermediateSize(json);
        if (common.IntermediateSize % 2 != 0) throw json.Wrong("intermediate_size", "even: it counts both halves of the gated MLP");
        RotaryScaling rotary = RotaryReader.Read(json, common.HeadDim, common.MaxContext, defaults) with { Theta = json.PositiveOrNull("rotary_emb_base") ?? defaults.Theta };
        int trainedContext = json.SizeOrNull("seq_length") ?? common.MaxContext;
        if (trainedContext < 2) throw json.Wrong("seq_length", "2 or more");
        bool bias = !json.Flag("no_bias", true);
        return new QwenConfig(common)
        {
            IntermediateSize = common.IntermediateSize / 2,
            QkvBias = true,
            AttentionOutputBias = bias,
            MlpBias = bias,
            ScaleScores = json.Flag("scale_attn_weights", true),
            LogScaleFrom = json.Flag("use_logn_attn", true) && trainedContext < common.MaxContext ? trainedContext : 0,
            Rotary = json.Flag("use_dynamic_ntk", true) ? new PromptRotaryScaling(rotary.Theta, rotary.Dimensions, trainedContext, common.MaxContext) : rotary,
        };
    }

    public static CausalLM Build(ModelConfig config, WeightReader weights)
    {
        QwenConfig qwen = (QwenConfig)config;
        WeightReader model = weights.Optional("transformer");
        RotaryTable rotary = new RotaryTable(weights.Loader, config.Rotary!, config.MaxContext);
        Tensor? scales = qwen.LogScaleFrom == 0 ? null : weights.Loader.Compute(1, config.MaxContext, (_, values) => FillLogScales(qwen.LogScaleFrom, values));
        Tensor table = model.Matrix("wte", config.VocabularySize, config.HiddenSize);
        DecoderLayer[] layers = [.. Enumerable.Range(0, config.Layers).Select(layer => ReadLayer(qwen, model["h"][layer], layer, rotary, scales))];
        LanguageHead head = new(
            model.RmsNorm("ln_f", config.HiddenSize, config.NormEpsilon),
            weights.Head(table, model.Path("wte.weight"), config));
        return new DecoderModel(weights.Backend, config.ShapeFor(weights.Type), new TokenEmbedding(table), layers, head, rotary);
    }

    private static SequentialLayer ReadLayer(QwenConfig config, WeightReader layer, int index, RotaryTable rotary, Tensor? scales)
    {
        WeightReader attention = layer["attn"], mlp = layer["mlp"];
        return new SequentialLayer(
            layer.RmsNorm("ln_1", config.HiddenSize, config.NormEpsilon),
            new SelfAttention(
                attention.Linear("c_attn", config.QueryColumns + (2 * config.KvColumns), config.HiddenSize, config.QkvBias),
                attention.Linear("c_proj", config.HiddenSize, config.QueryColumns, config.AttentionOutputBias),
                Heads(config, index, rotary, scales), index),
            layer.RmsNorm("ln_2", config.HiddenSize, config.NormEpsilon),
            // Qwen's w2 is the gate and w1 the up projection.
            new GatedMlp(
                mlp.Stacked([("w2", config.IntermediateSize), ("w1", config.IntermediateSize)], config.HiddenSize, config.MlpBias),
                mlp.Linear("c_proj", config.HiddenSize, config.IntermediateSize, config.MlpBias), config.Activation));
    }

    private static AttentionWeights Heads(QwenConfig config, int index, RotaryTable rotary, Tensor? scales)
    {
        AttentionWeights heads = SelfAttention.Heads(config, index, rotary) with { QueryScales = scales };
        return config.ScaleScores ? heads : heads with { Scale = 1 };
    }

    // Beyond the trained context, queries grow with the logarithm of their position.
    private static void FillLogScales(int trainedContext, Span<float> values)
    {
        for (int position = 0; position < values.Length; position++)
        {
            values[position] = position < trainedContext ? 1 : (float)(Math.Log(position + 1) / Math.Log(trainedContext));
        }
    }

    private sealed record QwenConfig : ModelConfig
    {
        [System.Diagnostics.CodeAnalysis.SetsRequiredMembers]
        public QwenConfig(ModelConfig common) : base(common)
        {
        }

        public bool ScaleScores { get; init; }

        public int LogScaleFrom { get; init; }
    }
}
