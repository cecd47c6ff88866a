namespace FastGen;

/// <summary>
/// What to continue: a text, or token ids. A string or an array of ids converts to it by itself. As in Hugging Face transformers, the text of a special token (such as
/// <c>&lt;|im_end|&gt;</c>) becomes that token wherever it stands: take it out of texts that others wrote, or give token ids.
/// </summary>
public sealed class Prompt
{
    private Prompt(string? text, IReadOnlyList<int>? tokenIds) => (Text, TokenIds) = (text, tokenIds);

    /// <summary>The text; null where token ids were given.</summary>
    public string? Text { get; }

    /// <summary>The token ids; null where a text was given.</summary>
    public IReadOnlyList<int>? TokenIds { get; }

    /// <summary>Whether the tokenizer adds its special tokens (a beginning of sequence, mostly) to a text. Default true; false for text that has them, as chat templates write it.</summary>
    public bool AddSpecialTokens { get; init; } = true;

    /// <summary>Parameters for this prompt alone; null takes those of the call.</summary>
    public SamplingParameters? Sampling { get; init; }

    /// <summary>A text, with parameters of its own if given.</summary>
    public static Prompt FromText(string text, SamplingParameters? sampling = null, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        return new Prompt(text, null) { Sampling = sampling, AddSpecialTokens = addSpecialTokens };
    }

    /// <summary>Token ids as they go into the model, with parameters of their own if given.</summary>
    public static Prompt FromTokenIds(IReadOnlyList<int> tokenIds, SamplingParameters? sampling = null)
    {
        ArgumentNullException.ThrowIfNull(tokenIds);
        return new Prompt(null, tokenIds) { Sampling = sampling };
    }

    /// <summary>A text.</summary>
    public static implicit operator Prompt(string text) => FromText(text);

    /// <summary>Token ids.</summary>
    public static implicit operator Prompt(int[] tokenIds) => FromTokenIds(tokenIds);
}
