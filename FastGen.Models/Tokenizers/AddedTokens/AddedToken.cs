namespace FastGen.Models.Tokenizers;

/// <summary>A token that is found in the text itself, before the model sees it.</summary>
internal sealed record AddedToken
{
    /// <summary>The text of the token; not empty.</summary>
    public required string Content { get; init; }

    /// <summary>Its id.</summary>
    public required int Id { get; init; }

    /// <summary>What it decodes to; for a normalized token the normalized content.</summary>
    public string Text { get; init; } = "";

    /// <summary>Skipped when decoding, if asked.</summary>
    public bool IsSpecial { get; init; }

    /// <summary>Looked for in the normalized text rather than in the text as given.</summary>
    public bool IsNormalized { get; init; }

    /// <summary>Takes the white space before it.</summary>
    public bool StripsLeft { get; init; }

    /// <summary>Takes the white space behind it.</summary>
    public bool StripsRight { get; init; }

    /// <summary>Does not match inside a word.</summary>
    public bool IsSingleWord { get; init; }
}
