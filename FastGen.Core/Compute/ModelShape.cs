namespace FastGen.Compute;

/// <summary>The sizes of a model that buffers and limits follow from.</summary>
public sealed record ModelShape
{
    /// <summary>Decoder layers.</summary>
    public required int Layers { get; init; }

    /// <summary>Columns of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Columns of the logits.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Columns between the two products of the largest MLP of a layer (a shared expert counts, routed experts do not).</summary>
    public required int MlpColumns { get; init; }

    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Key/value heads.</summary>
    public required int KvHeads { get; init; }

    /// <summary>Columns of one head.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Positions that the model was made for; no sequence grows longer.</summary>
    public required int MaxContext { get; init; }

    /// <summary>Longest prompt in tokens, where it is less than the context (see dynamic rotary scaling); 0 for the context.</summary>
    public int MaxPrompt { get; init; }

    /// <summary>
    /// Length beyond which a sequence is computed anew from its first token, since all of it is then rotated by other frequencies (see longrope); 0 for never.
    /// </summary>
    public int RecomputeBeyond { get; init; }

    /// <summary>Columns of the embedding table where they differ from the residual stream (OPT-350m); 0 for the same.</summary>
    public int EmbeddingColumns { get; init; }

    /// <summary>Tokens that the farthest-seeing layer sees; 0 where some layer sees all.</summary>
    public int CacheWindow { get; init; }

    /// <summary>Routed experts a layer; 0 for a dense model.</summary>
    public int Experts { get; init; }

    /// <summary>Experts that each token visits.</summary>
    public int ExpertsPerToken { get; init; }

    /// <summary>Columns between the two products of a routed expert.</summary>
    public int ExpertColumns { get; init; }

    /// <summary>Storage of the weights as loaded.</summary>
    public required DType WeightType { get; init; }

    /// <summary>Columns of a row [q | k | v].</summary>
    public int QkvColumns => (Heads + (2 * KvHeads)) * HeadDim;

    /// <summary>Values that one token keeps in the cache over all layers.</summary>
    public long CacheValuesPerToken => 2L * Layers * KvHeads * HeadDim;
}

/// <summary>The largest step that buffers are made for.</summary>
/// <param name="Tokens">Tokens in one step: the token budget.</param>
/// <param name="Sequences">Sequences that run at once: the number of slots, and of logit rows.</param>
/// <param name="BlockSize">Tokens in one cache block.</param>
/// <param name="BlocksPerSequence">Entries in a slot's row of the block table.</param>
public sealed record StepLimits(int Tokens, int Sequences, int BlockSize, int BlocksPerSequence);

/// <summary>The types a backend computes in for given weights.</summary>
/// <param name="Residual">The residual stream between layers.</param>
/// <param name="Activation">Everything else between products.</param>
/// <param name="Qkv">Queries, keys and values as their product leaves them.</param>
/// <param name="KvCache">Cached keys and values.</param>
public readonly record struct Precision(DType Residual, DType Activation, DType Qkv, DType KvCache);
