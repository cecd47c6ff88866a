using System.Text.Json;

namespace FastGen.Models;

/// <summary>A model's own defaults for generation: generation_config.json, with the token ids of config.json where it has none.</summary>
public sealed record GenerationConfig
{
    private const int DefaultTopK = 50;

    // What changes the output in transformers and has no counterpart here, with the number that changes nothing.
    private static readonly (string Name, double Neutral, bool WhenDrawing)[] Unfollowed =
    [
        ("num_beams", 1, false), ("num_beam_groups", 1, false), ("num_return_sequences", 1, false), ("penalty_alpha", 0, false), ("diversity_penalty", 0, false),
        ("typical_p", 1, true), ("epsilon_cutoff", 0, true), ("eta_cutoff", 0, true), ("top_h", 1, true),
        ("no_repeat_ngram_size", 0, false), ("encoder_no_repeat_ngram_size", 0, false), ("encoder_repetition_penalty", 1, false), ("guidance_scale", 1, false),
        ("min_length", 0, false), ("max_time", double.NaN, false), ("exponential_decay_length_penalty", 0, false),
        ("bad_words_ids", double.NaN, false), ("force_words_ids", double.NaN, false), ("constraints", double.NaN, false), ("sequence_bias", double.NaN, false),
        ("suppress_tokens", double.NaN, false), ("begin_suppress_tokens", double.NaN, false), ("forced_bos_token_id", double.NaN, false),
        ("forced_eos_token_id", double.NaN, false), ("forced_decoder_ids", double.NaN, false), ("watermarking_config", double.NaN, false),
        ("dola_layers", double.NaN, false), ("token_healing", double.NaN, false),
    ];

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

    /// <summary>Tokens of prompt and output at most, where <see cref="MaxNewTokens"/> is null; null where the file says nothing.</summary>
    public int? MaxLength { get; init; }

    /// <summary>New tokens before an end-of-sequence token may come; null where the file says nothing.</summary>
    public int? MinNewTokens { get; init; }

    /// <summary>Texts that end generation; empty where the file says nothing.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>Fields that ask for something that this library does not do, with their values.</summary>
    internal IReadOnlyList<string> NotFollowed { get; init; } = [];

    /// <summary>
    /// The defaults as parameters of a request, as transformers completes them: greedy unless <see cref="DoSample"/>; when drawing, the 50 most likely tokens
    /// unless the file says otherwise. Its length of 20 tokens where the file names none is not taken over.
    /// </summary>
    public SamplingParameters ToSamplingParameters() => new()
    {
        // A top-p or temperature of 0 leaves only the most likely token.
        Temperature = DoSample && TopP is not 0 ? Temperature ?? 1 : 0,
        TopK = TopK ?? (DoSample ? DefaultTopK : 0),
        TopP = TopP is > 0 ? TopP.Value : 1,
        MinP = MinP ?? 0,
        RepetitionPenalty = RepetitionPenalty ?? 1,
        MaxNewTokens = MaxNewTokens ?? (MaxLength is null ? Math.Max(SamplingParameters.DefaultMaxNewTokens, MinNewTokens ?? 0) : null),
        MaxLength = MaxNewTokens is null ? MaxLength : null,
        MinNewTokens = MinNewTokens ?? 0,
        StopStrings = StopStrings,
    };

    /// <summary>Reads a model folder's generation_config.json.</summary>
    /// <param name="path">The file itself, not its folder; where there is no such file, the result is what <paramref name="model"/> gives.</param>
    /// <param name="model">The model's config.json, whose token ids count where the file names none.</param>
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
        bool draws = json.Flag("do_sample", false);
        return new GenerationConfig
        {
            EndOfSequenceIds = json.TokenIdsOrNull("eos_token_id") ?? fallback.EndOfSequenceIds,
            BeginOfSequenceId = json.TokenIdOrNull("bos_token_id") ?? fallback.BeginOfSequenceId,
            PaddingId = json.TokenIdOrNull("pad_token_id") ?? fallback.PaddingId,
            DoSample = draws,
            Temperature = json.FloatOrNull("temperature"),
            TopK = json.CountOrNull("top_k"),
            TopP = Share(json, "top_p"),
            MinP = Share(json, "min_p"),
            RepetitionPenalty = json.FloatOrNull("repetition_penalty") is { } penalty ? penalty > 0 ? penalty : throw json.Wrong("repetition_penalty", "above 0") : null,
            MaxNewTokens = json.SizeOrNull("max_new_tokens"),
            MaxLength = json.SizeOrNull("max_length") is { } length ? length > 1 ? length : throw json.Wrong("max_length", "2 or more, prompt and output together") : null,
            MinNewTokens = ReadMinNewTokens(json),
            StopStrings = ReadStopStrings(json),
            NotFollowed = [.. Unfollowed.Where(field => (draws || !field.WhenDrawing) && json.Asks(field.Name, field.Neutral)).Select(field => $"{field.Name} = {json.RawValue(field.Name)}")],
        };
    }

    private static int? ReadMinNewTokens(ConfigReader json)
    {
        int? least = json.CountOrNull("min_new_tokens");
        return least > json.SizeOrNull("max_new_tokens") ? throw json.Wrong("min_new_tokens", "at most max_new_tokens") : least;
    }

    // One text or a list of them.
    private static IReadOnlyList<string> ReadStopStrings(ConfigReader json)
    {
        IReadOnlyList<string> texts = json.IsText("stop_strings") ? [json.TextOrNull("stop_strings")!] : json.TextsOrNull("stop_strings") ?? [];
        return texts.Contains("") ? throw json.Wrong("stop_strings", "texts that are not empty") : texts;
    }

    private static float? Share(ConfigReader json, string name) => json.FloatOrNull(name) switch
    {
        > 1 => throw json.Wrong(name, "from 0 to 1"),
        float share => share,
        null => null,
    };
}
