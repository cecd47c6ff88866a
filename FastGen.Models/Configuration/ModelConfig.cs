using System.Text.Json;
using FastGen.Compute;

namespace FastGen.Models;

/// <summary>A model's config.json under one naming for all families and generations of the file.</summary>
public record ModelConfig
{
    /// <summary>The class in transformers, such as LlamaForCausalLM.</summary>
    public required string Architecture { get; init; }

    /// <summary>Decoder layers.</summary>
    public required int Layers { get; init; }

    /// <summary>Columns of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Rows of the embedding table.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Columns between the two products of a dense MLP.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Key/value heads; <see cref="Heads"/> is a multiple of it.</summary>
    public required int KvHeads { get; init; }

    /// <summary>Columns of one head.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Positions that the model was made for.</summary>
    public required int MaxContext { get; init; }

    /// <summary>Epsilon of all norms.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>Function of the MLP.</summary>
    public required Activation Activation { get; init; }

    /// <summary>True where the output projection is the embedding table.</summary>
    public required bool TieWordEmbeddings { get; init; }

    /// <summary>Ids that end a sequence; empty where the file names none.</summary>
    public IReadOnlyList<int> EndOfSequenceIds { get; init; } = [];

    /// <summary>Id that begins a sequence; null where the file names none.</summary>
    public int? BeginOfSequenceId { get; init; }

    /// <summary>Id that pads batches; null where the file names none.</summary>
    public int? PaddingId { get; init; }

    /// <summary>Whether q, k and v have biases.</summary>
    internal bool QkvBias { get; init; }

    /// <summary>Whether the projection after attention has a bias.</summary>
    internal bool AttentionOutputBias { get; init; }

    /// <summary>Whether the MLP has biases.</summary>
    internal bool MlpBias { get; init; }

    /// <summary>Rotation of queries and keys; null for none.</summary>
    internal RotaryScaling? Rotary { get; init; }

    /// <summary>Tokens that each layer sees; 0 for all.</summary>
    internal IReadOnlyList<int> Windows { get; init; } = [];

    /// <summary>Longest prompt, where it is shorter than the context; else 0.</summary>
    internal int MaxPrompt { get; init; }

    /// <summary>Tokens that a layer sees, where that is less than any sequence may have; else 0.</summary>
    internal int WindowOf(int layer) => Windows[layer] < MaxContext ? Windows[layer] : 0;

    /// <summary>Columns of q.</summary>
    internal int QueryColumns => Heads * HeadDim;

    /// <summary>Columns of k, and of v.</summary>
    internal int KvColumns => KvHeads * HeadDim;

    /// <summary>The sizes that buffers follow from.</summary>
    internal virtual ModelShape ShapeFor(DType weightType) => new()
    {
        Layers = Layers,
        HiddenSize = HiddenSize,
        VocabularySize = VocabularySize,
        MlpColumns = IntermediateSize,
        Heads = Heads,
        KvHeads = KvHeads,
        HeadDim = HeadDim,
        MaxContext = MaxContext,
        MaxPrompt = MaxPrompt,
        RecomputeBeyond = Rotary?.RecomputeBeyond ?? 0,
        CacheWindow = Windows.Count > 0 && Windows.All(window => window > 0 && window < MaxContext) ? Windows.Max() : 0,
        WeightType = weightType,
    };

    /// <summary>Reads a model folder's config.json.</summary>
    /// <param name="path">The file itself, not its folder.</param>
    /// <exception cref="ModelLoadException">The file is missing or broken, or a field has an impossible value.</exception>
    /// <exception cref="UnsupportedModelException">The model needs something that is not supported.</exception>
    public static ModelConfig Read(string path)
    {
        if (!File.Exists(path)) throw new ModelLoadException($"{path}: is missing; a model folder has config.json, safetensors files and a tokenizer.");
        using JsonDocument document = JsonFile.Parse(path);
        return Read(new ConfigReader(path, document.RootElement));
    }

    /// <summary>Reads the text of a config.json.</summary>
    internal static ModelConfig Parse(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return Read(new ConfigReader("config.json", document.RootElement));
    }

    private static ModelConfig Read(ConfigReader json) => ModelFamily.Find(json).ReadConfig(json);
}
