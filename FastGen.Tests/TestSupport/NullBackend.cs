using FastGen.Compute;

namespace FastGen.Tests;

/// <summary>A backend that computes nothing: each draw gives the same token. Base of the simulated ones.</summary>
public class NullBackend : IBackend
{
    private readonly Dictionary<long, int> _rows = [];
    private long _tickets;

    /// <summary>What every draw gives.</summary>
    public int Drawn { get; init; } = 1;

    public int VocabularySize { get; init; } = 1000;

    /// <summary>Tokens that the simulated layers see; 0 for all.</summary>
    public int Window { get; init; }

    /// <summary>Called before a step is taken over; throws to simulate a fault there.</summary>
    public Action? OnSubmit { get; set; }

    public string Description => GetType().Name;

    public long DefaultCacheBytes { get; init; } = 1 << 20;

    public virtual int TokenBudgetLimit => 64;

    public Precision PrecisionFor(DType weights) => new(DType.F32, DType.F32, DType.F32, DType.F32);

    public Tensor AllocateWeights(DType type, int rows, int columns) => new(0, type, rows, columns);

    public Tensor Allocate(DType type, int rows, int columns) => new(0, type, rows, columns);

    public virtual KvLayer AllocateKvLayer(DType type, int blocks, int blockSize, int kvHeads, int headDim) => new(new Tensor(0, type, blocks, 0), blockSize, kvHeads, headDim);

    public virtual void FreeKvLayer(KvLayer layer)
    {
    }

    public virtual void Prepare(ModelShape shape, StepLimits limits) => _rows.EnsureCapacity(4);

    public virtual long Submit(RaggedBatch batch, Action<int, int> forward)
    {
        OnSubmit?.Invoke();
        forward(batch.TokenCount, batch.LogitRowCount);
        _rows[_tickets] = batch.LogitRowCount;
        return _tickets++;
    }

    public virtual void Collect(long ticket, Span<int> tokens)
    {
        _rows.Remove(ticket);
        tokens.Fill(Drawn);
    }

    public virtual void CollectLogProbabilities(long ticket, Span<TokenLogProbability> target)
    {
    }

    public void Dispose() => GC.SuppressFinalize(this);

    public void Upload(ReadOnlySpan<byte> source, DType sourceType, Tensor target, int firstRow = 0)
    {
    }

    public Memory<byte> UploadBuffer(int bytes) => new byte[bytes];

    public void Download(Tensor source, Span<float> target)
    {
    }

    public void Embed(Tensor output, Tensor table, RaggedBatch batch)
    {
    }

    public void AddPositions(Tensor output, Tensor table, int offset, RaggedBatch batch)
    {
    }

    public void Norm(Tensor output, Tensor input, NormWeights weights)
    {
    }

    public void Linear(Tensor output, in LinearInput input, LinearWeights weights, Activation activation = Activation.None, bool accumulate = false)
    {
    }

    public void GatedLinear(Tensor output, in LinearInput input, LinearWeights gateUp, Activation activation)
    {
    }

    public void StoreKv(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
    }

    public void Attention(Tensor output, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
    }

    public void MixtureOfExperts(Tensor output, in LinearInput input, ExpertWeights weights)
    {
    }

    public void AddGated(Tensor output, in LinearInput input, LinearWeights gate, Tensor rows, LinearWeights down)
    {
    }

    public void SelectRows(Tensor output, Tensor input, RaggedBatch batch)
    {
    }

    public void Sample(Tensor logits, RaggedBatch batch)
    {
    }
}

/// <summary>A model for <see cref="NullBackend"/>: one layer, no weights.</summary>
public class NullModel(NullBackend backend, int maxContext = 4096) : CausalLM(backend, new ModelShape
{
    Layers = 1,
    HiddenSize = 1,
    VocabularySize = backend.VocabularySize,
    MlpColumns = 1,
    Heads = 1,
    KvHeads = 1,
    HeadDim = 1,
    MaxContext = maxContext,
    CacheWindow = backend.Window,
    WeightType = DType.F32,
})
{
    public override void Forward(in ForwardPass pass)
    {
    }
}
