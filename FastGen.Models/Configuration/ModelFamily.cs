using System.Text.Json;

namespace FastGen.Models;

/// <summary>How the configurations of a family are read and its models built.</summary>
/// <param name="ReadConfig">Reads config.json.</param>
/// <param name="Build">Wires the layers and loads their weights.</param>
internal sealed record ModelFamily(Func<ConfigReader, ModelConfig> ReadConfig, Func<ModelConfig, WeightReader, CausalLM> Build)
{
    private const string Supported =
        "LlamaForCausalLM, MistralForCausalLM, MixtralForCausalLM, Qwen2ForCausalLM, Qwen2MoeForCausalLM, Qwen3ForCausalLM, Qwen3MoeForCausalLM, "
        + "QWenLMHeadModel, PhiForCausalLM, Phi3ForCausalLM, FalconForCausalLM, OPTForCausalLM";

    /// <summary>The family of a config.json, whose weights are in a form that can be computed with.</summary>
    /// <exception cref="UnsupportedModelException">There is none, or the weights are quantized.</exception>
    public static ModelFamily Find(ConfigReader json)
    {
        string architecture = ArchitectureOf(json);
        RefuseQuantized(json);
        return TryFind(architecture) ?? throw json.Unsupported(json.Has("architectures") ? "architectures" : "model_type", Supported);
    }

    /// <summary>The family of an architecture that <see cref="Find"/> has accepted.</summary>
    public static ModelFamily OfArchitecture(string architecture) => TryFind(architecture) ?? throw new ArgumentException($"There is no family for {architecture}.", nameof(architecture));

    /// <summary>True if a config.json names an architecture that has a family.</summary>
    public static bool IsSupported(JsonElement config) => TryFind(ArchitectureOf(new ConfigReader("config.json", config))) is not null;

    /// <summary>The first of "architectures", else the one that model_type stands for, as it does where a base model (LlamaModel) was saved by itself.</summary>
    public static string ArchitectureOf(ConfigReader json)
    {
        string? type = json.TextOrNull("model_type");
        if (json.TextsOrNull("architectures") is [string first, ..])
        {
            bool isBase = first.EndsWith("Model", StringComparison.Ordinal) && TryFind(first) is null;
            return isBase && type is not null && ArchitectureFor(type) is var whole && TryFind(whole) is not null ? whole : first;
        }
        return ArchitectureFor(type ?? throw new ModelLoadException(
            $"{json.File}: has neither architectures nor model_type, so the kind of model is unknown; add them, or get the model's own file again."));
    }

    private static string ArchitectureFor(string type) => type switch
    {
        "llama" => "LlamaForCausalLM",
        "mistral" => "MistralForCausalLM",
        "mixtral" => "MixtralForCausalLM",
        "qwen" => "QWenLMHeadModel",
        "qwen2" => "Qwen2ForCausalLM",
        "qwen2_moe" => "Qwen2MoeForCausalLM",
        "qwen3" => "Qwen3ForCausalLM",
        "qwen3_moe" => "Qwen3MoeForCausalLM",
        "phi" => "PhiForCausalLM",
        "phi3" => "Phi3ForCausalLM",
        "falcon" or "RefinedWeb" or "RefinedWebModel" => "FalconForCausalLM",
        "opt" => "OPTForCausalLM",
        _ => type,
    };

    private static ModelFamily? TryFind(string architecture) => architecture switch
    {
        "LlamaForCausalLM" or "LLaMAForCausalLM" => new(LlamaModel.ReadConfig, LlamaModel.Build),
        "MistralForCausalLM" => new(LlamaModel.ReadMistralConfig, LlamaModel.Build),
        "MixtralForCausalLM" => new(MixtralModel.ReadConfig, MixtralModel.Build),
        "Qwen2ForCausalLM" => new(Qwen2Model.ReadConfig, Qwen2Model.Build),
        "Qwen2MoeForCausalLM" => new(Qwen2MoeModel.ReadConfig, Qwen2MoeModel.Build),
        "Qwen3ForCausalLM" => new(Qwen3Model.ReadConfig, Qwen3Model.Build),
        "Qwen3MoeForCausalLM" => new(Qwen3MoeModel.ReadConfig, Qwen3MoeModel.Build),
        "QWenLMHeadModel" => new(QwenModel.ReadConfig, QwenModel.Build),
        "PhiForCausalLM" => new(PhiModel.ReadConfig, PhiModel.Build),
        "Phi3ForCausalLM" => new(Phi3Model.ReadConfig, Phi3Model.Build),
        "FalconForCausalLM" or "RWForCausalLM" => new(FalconModel.ReadConfig, FalconModel.Build),
        "OPTForCausalLM" => new(OptModel.ReadConfig, OptModel.Build),
        _ => null,
    };

    private static void RefuseQuantized(ConfigReader json)
    {
        const string unquantized = "weights in F32, F16 or BF16; get the model's unquantized files";
        foreach (string field in (string[])["quantization_config", "quantization", "compression_config"])
        {
            if (json.ObjectOrNull(field) is not { } quantization) continue;
            string method = quantization.TextOrNull("quant_method", "mode", "format") ?? "unnamed method";
            throw new UnsupportedModelException(json.File, $"{field} ({method})", quantization.Element.GetRawText().ReplaceLineEndings(" "), unquantized);
        }
    }
}
