namespace FastGen.Models.Tokenizers;

/// <summary>All parts of a tokenizer, whatever files they were read from.</summary>
internal sealed record TokenizerDefinition
{
    /// <summary>Cuts pieces into tokens.</summary>
    public required TokenModel Model { get; init; }

    /// <summary>Tokens found in the text itself.</summary>
    public IReadOnlyList<AddedToken> AddedTokens { get; init; } = [];

    /// <summary>Rewrites the text; null leaves it alone.</summary>
    public TextNormalizer? Normalizer { get; init; }

    /// <summary>Cut the text into pieces, in this order.</summary>
    public IReadOnlyList<PreTokenizationStep> PreTokenization { get; init; } = [];

    /// <summary>Adds special tokens; null adds none.</summary>
    public PostProcessor? PostProcessor { get; init; }

    /// <summary>Turns tokens into text; null puts spaces between them.</summary>
    public TokenDecoder? Decoder { get; init; }

    /// <summary>The token that begins a text, by the tokenizer's configuration.</summary>
    public string? BeginningOfSentence { get; init; }

    /// <summary>The token that ends a text, by the tokenizer's configuration.</summary>
    public string? EndOfSentence { get; init; }
}
