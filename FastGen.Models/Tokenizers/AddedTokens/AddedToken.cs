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

    /// <summary>Part of the model's protocol rather than of a text.</summary>
    public bool IsSpecial { get; init; }

    /// <summary>Left out when decoding, if asked: its <see cref="Text"/> is the content of a special token.</summary>
    public bool IsSkipped { get; init; }

    /// <summary>Looked for in the normalized text rather than in the text as given.</summary>
    public bool IsNormalized { get; init; }

    /// <summary>Takes the white space before it.</summary>
    public bool StripsLeft { get; init; }

    /// <summary>Takes the white space behind it.</summary>
    public bool StripsRight { get; init; }

    /// <summary>Does not match inside a word.</summary>
    public bool IsSingleWord { get; init; }
}
