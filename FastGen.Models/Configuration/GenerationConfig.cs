using System.Text.Json;

namespace FastGen.Models;

/// <summary>A model's own defaults for generation: generation_config.json, with the token ids of config.json where it has none.</summary>
public sealed record GenerationConfig
{
    /// <summary>Ids that end a sequence.</summary>
    public IReadOnlyList<int> EndOfSequenceIds { get; init; } = [];

    /// <summary>Id that begins a sequence; null for none.</summary>
    public int? BeginOfSequenceId { get; init; }

    /// <summary>Id that pads batches; null for none.</summary>
    public int? PaddingId { get; init; }

    /// <summary>Whether the publisher means tokens to be drawn; transformers takes the most likely token unless this is true.</summary>
    public bool DoSample { get; init; }

    /// <summary>Divides the logits; null where the file says nothing.</summary>
    public float? Temperature { get; init; }

    /// <summary>Keeps this many most likely tokens, 0 for all; null where the file says nothing.</summary>
    public int? TopK { get; init; }

    /// <summary>Keeps the most likely tokens up to this probability; null where the file says nothing.</summary>
    public float? TopP { get; init; }

    /// <summary>Drops tokens less likely than this share of the most likely; null where the file says nothing.</summary>
    public float? MinP { get; init; }

    /// <summary>Makes repeated tokens less likely; null where the file says nothing.</summary>
    public float? RepetitionPenalty { get; init; }

    /// <summary>New tokens at most; null where the file says nothing.</summary>
    public int? MaxNewTokens { get; init; }

    /// <summary>The defaults as parameters of a request: greedy unless <see cref="DoSample"/>.</summary>
    public SamplingParameters ToSamplingParameters() => new()
    {
        // A top-p or temperature of 0 leaves only the most likely token.
        Temperature = DoSample && TopP is not 0 ? Temperature ?? 1 : 0,
        TopK = TopK ?? 0,
        TopP = TopP is > 0 ? TopP.Value : 1,
        MinP = MinP ?? 0,
        RepetitionPenalty = RepetitionPenalty ?? 1,
        MaxNewTokens = MaxNewTokens ?? SamplingParameters.DefaultMaxNewTokens,
    };

    /// <summary>Reads a model folder's generation_config.json, which may be absent.</summary>
    /// <exception cref="ModelLoadException">The file is broken or a value is impossible.</exception>
    public static GenerationConfig Read(string path, ModelConfig model)
    {
        GenerationConfig fallback = new()
        {
            EndOfSequenceIds = model.EndOfSequenceIds,
            BeginOfSequenceId = model.BeginOfSequenceId,
            PaddingId = model.PaddingId,
        };
        if (!File.Exists(path)) return fallback;
        using JsonDocument document = JsonFile.Parse(path);
        ConfigReader json = new(path, document.RootElement);
        return new GenerationConfig
        {
            EndOfSequenceIds = json.TokenIdsOrNull("eos_token_id") ?? fallback.EndOfSequenceIds,
            BeginOfSequenceId = json.TokenIdOrNull("bos_token_id") ?? fallback.BeginOfSequenceId,
            PaddingId = json.TokenIdOrNull("pad_token_id") ?? fallback.PaddingId,
            DoSample = json.Flag("do_sample", false),
            Temperature = json.FloatOrNull("temperature"),
            TopK = json.CountOrNull("top_k"),
            TopP = Share(json, "top_p"),
            MinP = Share(json, "min_p"),
            RepetitionPenalty = (float?)json.PositiveOrNull("repetition_penalty"),
            MaxNewTokens = json.SizeOrNull("max_new_tokens"),
        };
    }

    private static float? Share(ConfigReader json, string name) => json.FloatOrNull(name) switch
    {
        > 1 => throw json.Wrong(name, "from 0 to 1"),
        float share => share,
        null => null,
    };
}
