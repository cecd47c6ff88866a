using FastGen.Compute;

namespace FastGen;

/// <summary>The buffers that a forward pass writes, allocated once for the largest step; a step only sets the number of rows.</summary>
public sealed class Activations
{
    private readonly Tensor _hidden, _normed, _embedded, _qkv, _attended, _mlp, _last, _lastEmbedded, _logits;
    private int _rows, _logitRows;

    /// <summary>Allocates for steps of up to <paramref name="limits"/>.</summary>
    public Activations(IBackend backend, ModelShape shape, StepLimits limits)
    {
        Precision precision = backend.PrecisionFor(shape.WeightType);
        int embeddingColumns = shape.EmbeddingColumns == 0 ? shape.HiddenSize : shape.EmbeddingColumns;
        _hidden = backend.Allocate(precision.Residual, limits.Tokens, shape.HiddenSize);
        _normed = backend.Allocate(precision.Activation, limits.Tokens, shape.HiddenSize);
        _embedded = shape.EmbeddingColumns == 0 ? _hidden : backend.Allocate(precision.Activation, limits.Tokens, embeddingColumns);
        _qkv = backend.Allocate(precision.Qkv, limits.Tokens, shape.QkvColumns);
        _attended = backend.Allocate(precision.Activation, limits.Tokens, shape.Heads * shape.HeadDim);
        _mlp = backend.Allocate(precision.Activation, limits.Tokens, shape.MlpColumns);
        _last = backend.Allocate(precision.Residual, limits.Sequences, shape.HiddenSize);
        _lastEmbedded = shape.EmbeddingColumns == 0 ? _last : backend.Allocate(precision.Activation, limits.Sequences, embeddingColumns);
        _logits = backend.Allocate(DType.F32, limits.Sequences, shape.VocabularySize);
    }

    /// <summary>The residual stream, [rows, hidden size].</summary>
    public Tensor Hidden => _hidden.WithRows(_rows);

    /// <summary>For models that use one norm's output twice, [rows, hidden size].</summary>
    public Tensor Normed => _normed.WithRows(_rows);

    /// <summary>Rows of the embedding table, [rows, embedding columns]: the residual stream itself unless the model projects them.</summary>
    public Tensor Embedded => _embedded.WithRows(_rows);

    /// <summary>[rows, q | k | v]</summary>
    public Tensor Qkv => _qkv.WithRows(_rows);

    /// <summary>Output of attention, [rows, query columns].</summary>
    public Tensor Attended => _attended.WithRows(_rows);

    /// <summary>Between the two products of an MLP, [rows, MLP columns].</summary>
    public Tensor Mlp => _mlp.WithRows(_rows);

    /// <summary>Rows of the residual stream whose logits are wanted, [logit rows, hidden size].</summary>
    public Tensor Last => _last.WithRows(_logitRows);

    /// <summary><see cref="Last"/> projected back to the embedding's columns: <see cref="Last"/> itself unless the model projects.</summary>
    public Tensor LastEmbedded => _lastEmbedded.WithRows(_logitRows);

    /// <summary>[logit rows, vocabulary size], F32</summary>
    public Tensor Logits => _logits.WithRows(_logitRows);

    /// <summary>Sets the number of rows that the next pass computes.</summary>
    public void Resize(int rows, int logitRows) => (_rows, _logitRows) = (rows, logitRows);
}
