namespace FastGen.Compute;

/// <summary>Elementwise function applied to the output of a product.</summary>
public enum Activation : byte
{
    /// <summary>x</summary>
    None,

    /// <summary>max(x, 0)</summary>
    Relu,

    /// <summary>x · Φ(x) by the error function.</summary>
    Gelu,

    /// <summary>x · Φ(x) by the tanh approximation ("gelu_new", "gelu_pytorch_tanh").</summary>
    GeluTanh,

    /// <summary>x · sigmoid(x)</summary>
    Silu,
}

/// <summary>Which statistic a norm divides by.</summary>
public enum NormKind : byte
{
    /// <summary>x / √(mean(x²) + ε) · γ</summary>
    Rms,

    /// <summary>(x − mean(x)) / √(var(x) + ε) · γ + β</summary>
    Layer,
}

/// <summary>Parameters of a normalization over the columns of a row.</summary>
/// <param name="Kind">RMS or layer norm.</param>
/// <param name="Gamma">Scale, [1, columns], F32.</param>
/// <param name="Beta">Shift, [1, columns], F32; null for none.</param>
/// <param name="Epsilon">Added to the mean square.</param>
public sealed record NormWeights(NormKind Kind, Tensor Gamma, Tensor? Beta, float Epsilon);

/// <summary>A linear map: x · weightᵀ + bias.</summary>
/// <param name="Weight">[outputs, inputs], from <see cref="IBackend.AllocateWeights"/>.</param>
/// <param name="Bias">[1, outputs], F32; null for none.</param>
public sealed record LinearWeights(Tensor Weight, Tensor? Bias = null)
{
    /// <summary>Columns of the product.</summary>
    public int Outputs => Weight.Rows;

    /// <summary>Columns of its input.</summary>
    public int Inputs => Weight.Columns;
}

/// <summary>
/// The input of a product: rows as they are, or the residual stream with the norm that comes before the product,
/// so that a backend may fuse the two.
/// </summary>
/// <param name="Rows">[tokens, inputs]</param>
/// <param name="Norm">Applied to each row first; null for none.</param>
public readonly record struct LinearInput(Tensor Rows, NormWeights? Norm = null);

/// <summary>One attention layer: its heads, what it sees, and what is done to queries and keys on the way in.</summary>
public sealed record AttentionWeights
{
    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Key/value heads; <see cref="Heads"/> is a multiple of it.</summary>
    public required int KvHeads { get; init; }

    /// <summary>Columns of one head.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Factor on q·k before the softmax.</summary>
    public required float Scale { get; init; }

    /// <summary>A token sees itself and the Window − 1 tokens before it; 0 for all.</summary>
    public int Window { get; init; }

    /// <summary>
    /// Rotary table, F32, [rows, rotary dimensions]: row r holds cos of the first half of the dimensions, then sin.
    /// Dimension i is paired with i + half ("rotate half"); dimensions past the table's columns stay as they are. Null for no rotation.
    /// A token reads the row of its position plus its sequence's <see cref="RaggedBatch.RotaryBases"/>.
    /// </summary>
    public Tensor? Rotary { get; init; }

    /// <summary>ALiBi slope of each query head, F32, [1, heads]: adds slope · (key position − query position) to the scaled score. Null for none.</summary>
    public Tensor? AlibiSlopes { get; init; }

    /// <summary>Norm over each query head before rotation (Qwen3). Null for none.</summary>
    public NormWeights? QueryNorm { get; init; }

    /// <summary>Norm over each key head before rotation (Qwen3). Null for none.</summary>
    public NormWeights? KeyNorm { get; init; }

    /// <summary>Factor on each query by the position of its token, F32, [1, positions] (Qwen's log-n attention). Null for none.</summary>
    public Tensor? QueryScales { get; init; }

    /// <summary>Columns of all query heads.</summary>
    public int QueryColumns => Heads * HeadDim;

    /// <summary>Columns of all key heads, and of all value heads.</summary>
    public int KvColumns => KvHeads * HeadDim;

    /// <summary>Columns of a row [q | k | v].</summary>
    public int QkvColumns => QueryColumns + (2 * KvColumns);
}

/// <summary>A sparse mixture of gated experts. Rows of the stacked matrices are grouped by expert.</summary>
public sealed record ExpertWeights
{
    /// <summary>Router, [experts, model].</summary>
    public required LinearWeights Router { get; init; }

    /// <summary>[experts · 2 · hidden, model]: each expert's gate rows, then its up rows.</summary>
    public required Tensor GateUp { get; init; }

    /// <summary>[experts · model, hidden]</summary>
    public required Tensor Down { get; init; }

    /// <summary>Number of experts.</summary>
    public required int Experts { get; init; }

    /// <summary>Experts that each token visits.</summary>
    public required int TopK { get; init; }

    /// <summary>Whether the chosen probabilities are divided by their sum.</summary>
    public required bool NormalizeTopK { get; init; }

    /// <summary>Function on the gate.</summary>
    public required Activation Activation { get; init; }
}
