namespace FastGen.Models;

/// <summary>What a family's configuration class in transformers takes where config.json says nothing.</summary>
internal sealed record FamilyDefaults
{
    /// <summary>max_position_embeddings.</summary>
    public required int MaxContext { get; init; }

    /// <summary>Epsilon of the norms.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>Name of the MLP's function.</summary>
    public string Activation { get; init; } = "silu";

    /// <summary>Base of the rotary frequencies.</summary>
    public double Theta { get; init; } = 10_000;

    /// <summary>Share of a head that is rotated; null where the family rotates whole heads and can do nothing else.</summary>
    public double? RotaryFraction { get; init; }

    /// <summary>original_max_position_embeddings for longrope; null where it must be given.</summary>
    public int? OriginalContext { get; init; }

    /// <summary>Whether the output projection is the embedding table.</summary>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>True where a missing num_key_value_heads means as many as query heads.</summary>
    public bool KvHeadsOptional { get; init; }

    /// <summary>True where sliding_window alone gives every layer a window.</summary>
    public bool HasWindow { get; init; }

    /// <summary>Window where sliding_window is absent (null in the file means none).</summary>
    public int? SlidingWindow { get; init; }

    /// <summary>Columns of a head where head_dim is absent; null for hidden_size / num_attention_heads.</summary>
    public int? HeadDim { get; init; }
}
