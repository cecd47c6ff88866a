using FastGen.Compute;

namespace FastGen;

/// <summary>
/// How tokens are drawn and when generation ends. Names, meaning and order follow Hugging Face transformers, where it has them; the defaults change nothing: they draw from the
/// model's own distribution, without transformers' top-k of 50. Start from <see cref="Greedy"/>, or from a pipeline's <c>DefaultSampling</c> to keep what the model's publisher chose:
/// <c>pipeline.DefaultSampling with { MaxNewTokens = 100 }</c>.
/// </summary>
public sealed record SamplingParameters
{
    /// <summary>Tokens that a request generates when it does not say.</summary>
    public const int DefaultMaxNewTokens = 256;

    /// <summary>The most that <see cref="TopLogProbabilities"/> may ask for.</summary>
    public const int MaxTopLogProbabilities = 20;

    /// <summary>The most likely token each time.</summary>
    public static SamplingParameters Greedy { get; } = new() { Temperature = 0 };

    /// <summary>Divides the logits before the softmax; 0 picks the most likely token. Default 1.</summary>
    public float Temperature { get; init; } = 1;

    /// <summary>Keeps this many most likely tokens; 0, the default, keeps all.</summary>
    public int TopK { get; init; }

    /// <summary>Keeps the smallest set of most likely tokens whose probability reaches this; in (0, 1], default 1.</summary>
    public float TopP { get; init; } = 1;

    /// <summary>Drops tokens less likely than this share of the most likely; in [0, 1], default 0.</summary>
    public float MinP { get; init; }

    /// <summary>Above 1, makes tokens of the prompt and the output less likely (Keskar et al. 2019); default 1.</summary>
    public float RepetitionPenalty { get; init; } = 1;

    /// <summary>Subtracted from the logits of tokens that the output holds; default 0.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Subtracted from the logits of tokens that the output holds, once an occurrence; default 0.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>
    /// Makes draws repeatable: the same seed, prompt and parameters give the same text, on the CPU whatever else runs, on CUDA so where the pipeline is deterministic. Null, the default,
    /// takes a fresh one for each request. Prompts that share parameters share the seed: equal ones then get equal texts, unless each has parameters of its own.
    /// </summary>
    public ulong? Seed { get; init; }

    /// <summary>Tokens to generate at most; default 256, after which a text is cut with <see cref="FinishReason.Length"/>. Null goes on up to the context limit.</summary>
    public int? MaxNewTokens { get; init; } = DefaultMaxNewTokens;

    /// <summary>Tokens of prompt and output together at most; the prompt must leave room for one. Null, the default, for no limit but the context's.</summary>
    public int? MaxLength { get; init; }

    /// <summary>Stop tokens are not drawn before this many new tokens; default 0.</summary>
    public int MinNewTokens { get; init; }

    /// <summary>Goes on past the model's end-of-sequence tokens; default false.</summary>
    public bool IgnoreEndOfSequence { get; init; }

    /// <summary>Further token ids that end generation, beside the model's own.</summary>
    public IReadOnlyList<int> StopTokenIds { get; init; } = [];

    /// <summary>Texts that end generation; neither they nor any part of them is returned.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>
    /// Whether the log probability of each generated token is wanted; default false. It is the log-softmax of the model's logits as they are:
    /// before penalties, suppressed stop tokens, temperature and all that drops tokens.
    /// </summary>
    public bool LogProbabilities { get; init; }

    /// <summary>
    /// How many of the most likely tokens are wanted with their log probabilities at each generated token; 0 to 20, default 0. Above 0 it asks for
    /// <see cref="LogProbabilities"/> too. The generated token need not be among them.
    /// </summary>
    public int TopLogProbabilities { get; init; }

    /// <summary>Throws when a value is out of range.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Names the parameter, its value and its range.</exception>
    /// <exception cref="ArgumentException">A stop string is empty.</exception>
    public void Validate()
    {
        Require(float.IsFinite(Temperature) && Temperature >= 0, nameof(Temperature), Temperature, "a finite number of 0 or more (0 is greedy)");
        Require(TopK >= 0, nameof(TopK), TopK, "0 or more (0 keeps all tokens)");
        Require(TopP is > 0 and <= 1, nameof(TopP), TopP, "above 0 and at most 1");
        Require(MinP is >= 0 and <= 1, nameof(MinP), MinP, "from 0 to 1");
        Require(float.IsFinite(RepetitionPenalty) && RepetitionPenalty > 0, nameof(RepetitionPenalty), RepetitionPenalty, "a finite number above 0 (1 changes nothing)");
        Require(float.IsFinite(PresencePenalty), nameof(PresencePenalty), PresencePenalty, "finite");
        Require(float.IsFinite(FrequencyPenalty), nameof(FrequencyPenalty), FrequencyPenalty, "finite");
        Require(MaxNewTokens is null or > 0, nameof(MaxNewTokens), MaxNewTokens ?? 0, "1 or more, or null for the context limit");
        Require(MaxLength is null or > 1, nameof(MaxLength), MaxLength ?? 0, "2 or more (prompt and output), or null for the context limit");
        Require(MinNewTokens >= 0, nameof(MinNewTokens), MinNewTokens, "0 or more");
        Require(TopLogProbabilities is >= 0 and <= MaxTopLogProbabilities, nameof(TopLogProbabilities), TopLogProbabilities, $"from 0 to {MaxTopLogProbabilities} (0 wants none)");
        Require(MaxNewTokens is null || MinNewTokens <= MaxNewTokens, nameof(MinNewTokens), MinNewTokens, $"at most {nameof(MaxNewTokens)} ({MaxNewTokens})");
        ArgumentNullException.ThrowIfNull(StopTokenIds);
        ArgumentNullException.ThrowIfNull(StopStrings);
        for (int i = 0; i < StopStrings.Count; i++)
        {
            if (string.IsNullOrEmpty(StopStrings[i])) throw new ArgumentException($"{nameof(StopStrings)}[{i}] is {(StopStrings[i] is null ? "null" : "empty")}; leave it out, since every text would end at once.", nameof(StopStrings));
        }
    }

    /// <summary>Log probabilities wanted at each generated token: 0, or the token's own and those of the most likely.</summary>
    internal int LogProbabilityEntries => TopLogProbabilities > 0 ? 1 + TopLogProbabilities : LogProbabilities ? 1 : 0;

    internal SlotSampling ForSlot(ulong seed, int promptLength) => new()
    {
        Temperature = Temperature,
        TopK = TopK,
        TopP = TopP,
        MinP = MinP,
        RepetitionPenalty = RepetitionPenalty,
        PresencePenalty = PresencePenalty,
        FrequencyPenalty = FrequencyPenalty,
        PromptLength = promptLength,
        LogProbabilities = LogProbabilityEntries,
        Seed = seed,
    };

    private static void Require<T>(bool valid, string name, T value, string range)
    {
        if (!valid) throw new ArgumentOutOfRangeException(name, value, $"{name} must be {range}.");
    }
}
