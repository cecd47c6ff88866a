using FastGen.Compute;

namespace FastGen.Models;

/// <summary>The fields of config.json that all families share, under every name that they have had.</summary>
internal static class CommonFields
{
    // Beyond every model known by far; a larger number is damage, and would only be found when memory runs out.
    private const int MostLayers = 10_000, LongestContext = 1 << 24;

    // Fields of other families and forks that change the arithmetic. Where one is set, the wiring here would give wrong output.
    private static readonly string[] Refused =
        ["qk_layernorm", "use_qk_norm", "rope_interleaved", "attn_logit_softcapping", "final_logit_softcapping", "clip_qkv", "use_alibi", "add_cross_attention"];

    // As those, where 1 changes nothing.
    private static readonly string[] RefusedFactors = ["logit_scale", "logits_scaling", "embedding_multiplier", "residual_multiplier"];

    /// <summary>Reads them; families change what differs.</summary>
    public static ModelConfig Read(ConfigReader json, FamilyDefaults defaults)
    {
        foreach (string field in Refused) json.RequireAbsent(field);
        foreach (string field in RefusedFactors)
        {
            if (json.PositiveOrNull(field) is not (null or 1)) throw json.Unsupported(field, "1");
        }
        int layers = json.Size("num_hidden_layers", "n_layer"), hidden = json.Size("hidden_size", "n_embed");
        int heads = json.Size("num_attention_heads", "n_head");
        if (layers > MostLayers) throw json.Wrong("num_hidden_layers", $"at most {MostLayers}");
        int headDim = json.SizeOrNull("head_dim", "kv_channels") ?? defaults.HeadDim ?? (hidden % heads == 0 ? hidden / heads : throw json.Wrong("hidden_size", $"a multiple of the {heads} attention heads"));
        int kvHeads = json.SizeOrNull("num_key_value_heads", "num_kv_heads", "n_head_kv") ?? (json.IsNull("num_key_value_heads") ? heads : defaults.KvHeads ?? heads);
        if (heads % kvHeads != 0) throw json.Wrong("num_key_value_heads", $"a divisor of the {heads} attention heads");
        CheckProduct(json, "num_attention_heads", (heads + (2L * kvHeads)) * headDim);
        int maxContext = json.SizeOrNull("max_position_embeddings") ?? defaults.MaxContext;
        if (maxContext > LongestContext) throw json.Wrong("max_position_embeddings", $"at most {LongestContext}");
        return new ModelConfig
        {
            Architecture = ModelFamily.ArchitectureOf(json),
            Layers = layers,
            HiddenSize = hidden,
            VocabularySize = json.Size("vocab_size"),
            IntermediateSize = json.SizeOrNull("intermediate_size", "ffn_dim", "ffn_hidden_size") ?? 0,
            Heads = heads,
            KvHeads = kvHeads,
            HeadDim = headDim,
            MaxContext = maxContext,
            NormEpsilon = (defaults.NormEpsilonField is { } epsilon ? json.FloatOrNull(epsilon) : null) ?? defaults.NormEpsilon,
            Activation = ReadActivation(json, defaults),
            TieWordEmbeddings = json.Flag("tie_word_embeddings", defaults.TieWordEmbeddings),
            EndOfSequenceIds = json.TokenIdsOrNull("eos_token_id") ?? [],
            BeginOfSequenceId = json.TokenIdOrNull("bos_token_id"),
            PaddingId = json.TokenIdOrNull("pad_token_id"),
            Windows = ReadWindows(json, layers, ReadWindow(json, defaults)),
        };
    }

    /// <summary>Reads them for a family with rotary positions.</summary>
    public static ModelConfig ReadRotary(ConfigReader json, FamilyDefaults defaults)
    {
        ModelConfig config = Read(json, defaults);
        RotaryScaling rotary = RotaryReader.Read(json, config.HeadDim, config.MaxContext, defaults);
        double extended = Math.Max(config.MaxContext, Math.Floor(rotary.ExtendedContext(config.MaxContext)));
        if (extended > LongestContext) throw json.Wrong("max_position_embeddings", $"at most {LongestContext} when extended by the rotary factor");
        // A longer prompt would need the base of its own length for every token, not of each token's place.
        return config with { Rotary = rotary, MaxContext = (int)extended, MaxPrompt = rotary is DynamicRotaryScaling ? config.MaxContext : 0 };
    }

    /// <summary>The intermediate size, which must be there for a dense MLP.</summary>
    public static ModelConfig RequireIntermediateSize(this ModelConfig config, ConfigReader json) =>
        config.IntermediateSize > 0 ? config : throw json.Missing("intermediate_size");

    /// <summary>
    /// Windows of all layers: layer_types where the file has it, else <paramref name="isSliding"/> of each layer.
    /// </summary>
    /// <param name="json">config.json.</param>
    /// <param name="layers">Number of layers.</param>
    /// <param name="window">Width of the window; null or 0 for none.</param>
    /// <param name="isSliding">Which layers have it; null for all.</param>
    public static IReadOnlyList<int> ReadWindows(ConfigReader json, int layers, int? window, Func<int, bool>? isSliding = null)
    {
        int width = window ?? 0;
        if (json.TextsOrNull("layer_types") is not { } types) return [.. Enumerable.Range(0, layers).Select(layer => isSliding is null || isSliding(layer) ? width : 0)];
        if (types.Count != layers) throw json.Wrong("layer_types", $"a list of {layers} kinds, one a layer");
        return [.. types.Select(type => type switch
        {
            "full_attention" => 0,
            "sliding_attention" when width > 0 => width,
            "sliding_attention" => throw json.Wrong("layer_types", "full_attention throughout, since sliding_window is not set"),
            _ => throw json.Unsupported("layer_types", "full_attention, sliding_attention"),
        })];
    }

    /// <summary>Fails where a product of sizes is beyond what a matrix can have.</summary>
    public static void CheckProduct(ConfigReader json, string field, long product)
    {
        if (product > int.MaxValue) throw json.Wrong(field, $"smaller: a matrix would have {product} rows");
    }

    private static int? ReadWindow(ConfigReader json, FamilyDefaults defaults)
    {
        if (!defaults.HasWindow && !json.Has("layer_types")) return null;
        return json.Element.TryGetProperty("sliding_window", out _) ? json.CountOrNull("sliding_window") : defaults.SlidingWindow;
    }

    private static Activation ReadActivation(ConfigReader json, FamilyDefaults defaults) => (json.TextOrNull(defaults.ActivationField) ?? defaults.Activation) switch
    {
        "silu" or "swish" => Activation.Silu,
        "gelu" or "gelu_python" => Activation.Gelu,
        "gelu_new" or "gelu_fast" or "gelu_accurate" or "gelu_pytorch_tanh" or "gelu_python_tanh" => Activation.GeluTanh,
        "relu" => Activation.Relu,
        _ => throw json.Unsupported(defaults.ActivationField, "silu, gelu, gelu_new, gelu_pytorch_tanh, relu"),
    };
}
