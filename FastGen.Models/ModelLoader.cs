using FastGen.Compute;
using Microsoft.Extensions.Logging;

namespace FastGen.Models;

/// <summary>Loads models from folders in the form that Hugging Face publishes: config.json and safetensors files.</summary>
public static partial class ModelLoader
{
    // Files that quantizers leave beside a config.json that does not mention them.
    private static readonly string[] QuantizerFiles = ["hf_quant_config.json", "quantize_config.json"];

    /// <summary>Loads the model of a folder into a backend's memory.</summary>
    /// <param name="folder">The model folder. Nothing in it is executed.</param>
    /// <param name="backend">Where the weights go; they are freed with it.</param>
    /// <param name="options">How to load; null for the defaults.</param>
    /// <param name="cancellationToken">Stops loading between chunks.</param>
    /// <exception cref="ModelLoadException">A file is missing or broken; the message names it and the remedy.</exception>
    /// <exception cref="UnsupportedModelException">The model needs something that is not supported; the message names it.</exception>
    /// <exception cref="OperationCanceledException">Loading was cancelled.</exception>
    public static LoadedModel Load(string folder, IBackend backend, ModelLoadOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(backend);
        options ??= new ModelLoadOptions();
        if (File.Exists(folder)) throw new ModelLoadException($"{folder}: is a file; give the folder that it lies in, with the model's config.json.");
        if (!Directory.Exists(folder)) throw new ModelLoadException($"{folder}: there is no such folder; give the folder that has the model's config.json. Nothing is downloaded: a model of the hub has to be fetched first.");
        ModelConfig config = ModelConfig.Read(Path.Combine(folder, "config.json"));
        RefuseQuantizerFiles(folder);
        string generationFile = Path.Combine(folder, "generation_config.json");
        GenerationConfig generation = GenerationConfig.Read(generationFile, config);
        if (generation.NotFollowed.Count > 0 && options.Logger is { } logger) LogNotFollowed(logger, generationFile, string.Join(", ", generation.NotFollowed));
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder);
        return new LoadedModel(Load(config, checkpoint, backend, options, cancellationToken), config, generation);
    }

    /// <summary>Loads the model of a configuration from any checkpoint.</summary>
    internal static CausalLM Load(ModelConfig config, Checkpoint checkpoint, IBackend backend, ModelLoadOptions options, CancellationToken cancellationToken = default)
    {
        using WeightLoader loader = new(checkpoint, backend, options.WeightType ?? checkpoint.MainType, options.Progress, cancellationToken);
        CausalLM model = ModelFamily.OfArchitecture(config.Architecture).Build(config, new WeightReader(loader));
        loader.Complete();
        if (!options.LeavesLayersOut) UnusedTensors.Check(loader, config, options.Logger);
        return model;
    }

    private static void RefuseQuantizerFiles(string folder)
    {
        foreach (string file in QuantizerFiles)
        {
            string path = Path.Combine(folder, file);
            if (File.Exists(path)) throw new UnsupportedModelException(folder, "quantization", file, "weights in F32, F16 or BF16; get the model's unquantized files");
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{File}: {Fields}: not supported, so generation with the model's defaults will differ from what its publisher meant.")]
    private static partial void LogNotFollowed(ILogger logger, string file, string fields);
}
