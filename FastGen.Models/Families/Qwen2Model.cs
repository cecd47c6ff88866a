namespace FastGen.Models;

/// <summary>Qwen 1.5, 2 and 2.5: Llama with biases on q, k and v, and windows on the later layers where they are switched on.</summary>
internal static class Qwen2Model
{
    public static ModelConfig ReadConfig(ConfigReader json) => ReadDenseConfig(json).RequireIntermediateSize(json) with { QkvBias = true };

    public static CausalLM Build(ModelConfig config, WeightReader weights) => LlamaModel.Build(config, weights);

    /// <summary>What Qwen2 and Qwen3 share.</summary>
    /// <param name="json">config.json.</param>
    /// <param name="headDim">Columns of a head where the file does not say; null for hidden_size / num_attention_heads.</param>
    public static ModelConfig ReadDenseConfig(ConfigReader json, int? headDim = null)
    {
        ModelConfig config = CommonFields.ReadRotary(json, new FamilyDefaults { MaxContext = 32768, NormEpsilon = 1e-6f, KvHeads = 32, HeadDim = headDim });
        int fullLayers = json.CountOrNull("max_window_layers") ?? 28;
        return config with { Windows = CommonFields.ReadWindows(json, config.Layers, Window(json), layer => layer >= fullLayers) };
    }

    /// <summary>The window, which counts only where use_sliding_window says so; null in the file is none all the same.</summary>
    public static int? Window(ConfigReader json) =>
        json.Flag("use_sliding_window", false) && !json.IsNull("sliding_window") ? json.CountOrNull("sliding_window") ?? 4096 : null;
}
