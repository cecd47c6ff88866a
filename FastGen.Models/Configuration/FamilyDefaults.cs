namespace FastGen.Models;

/// <summary>What a family's configuration class in transformers takes where config.json says nothing, and what it calls its fields.</summary>
internal sealed record FamilyDefaults
{
    /// <summary>max_position_embeddings.</summary>
    public required int MaxContext { get; init; }

    /// <summary>Epsilon of the norms.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>The field that holds it; null where the family cannot change it.</summary>
    public string? NormEpsilonField { get; init; } = "rms_norm_eps";

    /// <summary>Name of the MLP's function.</summary>
    public string Activation { get; init; } = "silu";

    /// <summary>The field that holds it.</summary>
    public string ActivationField { get; init; } = "hidden_act";

    /// <summary>Base of the rotary frequencies.</summary>
    public double Theta { get; init; } = 10_000;

    /// <summary>Share of a head that is rotated; null where the family rotates whole heads and can do nothing else.</summary>
    public double? RotaryFraction { get; init; }

    /// <summary>
    /// original_max_position_embeddings where the model's own field is absent, in the family whose class is made for longrope (Phi-3); null for the one of the rotary
    /// parameters, or max_position_embeddings.
    /// </summary>
    public int? OriginalContext { get; init; }

    /// <summary>Whether the output projection is the embedding table.</summary>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>Key/value heads where num_key_value_heads is absent; null for as many as query heads, which null in the file means for all.</summary>
    public int? KvHeads { get; init; }

    /// <summary>True where sliding_window alone gives every layer a window.</summary>
    public bool HasWindow { get; init; }

    /// <summary>Window where sliding_window is absent (null in the file means none).</summary>
    public int? SlidingWindow { get; init; }

    /// <summary>Columns of a head where head_dim is absent; null for hidden_size / num_attention_heads.</summary>
    public int? HeadDim { get; init; }
}
