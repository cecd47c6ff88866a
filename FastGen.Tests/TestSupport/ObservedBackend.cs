using System.Runtime.CompilerServices;
using FastGen.Compute;

namespace FastGen.Tests;

/// <summary>Passes every call on to another backend and lets its owner look at each step, or break it.</summary>
/// <param name="inner">Does the work; disposed with this.</param>
internal sealed class ObservedBackend(IBackend inner) : IBackend
{
    /// <summary>Called with the name of each call of a step; throws to inject a fault there.</summary>
    public Action<string>? Calling { get; set; }

    /// <summary>Called on the engine's thread before a step goes on to the device; throws to inject a fault there.</summary>
    public Action<RaggedBatch>? Submitting { get; set; }

    /// <summary>Called on the engine's thread after a step was collected; throws to inject a fault there.</summary>
    public Action? Collected { get; set; }

    /// <summary>Called before an upload with its bytes, target and first row; true where it has put the values there itself.</summary>
    public Func<int, Tensor, int, bool>? Uploading { get; set; }

    /// <summary>Called before a mixture of experts with the backend and the operation's arguments; true where it has computed it itself.</summary>
    public Func<IBackend, Tensor, LinearInput, ExpertWeights, bool>? Mixing { get; set; }

    public string Description => inner.Description;

    /// <summary>Called with the name of each call that takes, gives back or asks for memory, in their order.</summary>
    public Action<string>? Taking { get; set; }

    public long DefaultCacheBytes => Taken().DefaultCacheBytes;

    public int TokenBudgetLimit => inner.TokenBudgetLimit;

    public bool CompilesSteps { get; init; } = inner.CompilesSteps;

    public Precision PrecisionFor(DType weights) => inner.PrecisionFor(weights);

    public Tensor AllocateWeights(DType type, int rows, int columns) => inner.AllocateWeights(type, rows, columns);

    public Tensor Allocate(DType type, int rows, int columns) => Taken().Allocate(type, rows, columns);

    public KvLayer AllocateKvLayer(DType type, int blocks, int blockSize, int kvHeads, int headDim) => Taken().AllocateKvLayer(type, blocks, blockSize, kvHeads, headDim);

    public void FreeKvLayer(KvLayer layer) => Taken().FreeKvLayer(layer);

    public void Upload(ReadOnlySpan<byte> source, DType sourceType, Tensor target, int firstRow = 0)
    {
        if (Uploading?.Invoke(source.Length, target, firstRow) != true) inner.Upload(source, sourceType, target, firstRow);
    }

    public Memory<byte> UploadBuffer(int bytes) => inner.UploadBuffer(bytes);

    public void Download(Tensor source, Span<float> target) => inner.Download(source, target);

    public void Prepare(ModelShape shape, StepLimits limits) => Taken().Prepare(shape, limits);

    public void CompileSteps(RaggedBatch batch, Action<int, int> forward, CancellationToken cancellationToken = default) => inner.CompileSteps(batch, forward, cancellationToken);

    public long Submit(RaggedBatch batch, Action<int, int> forward)
    {
        Submitting?.Invoke(batch);
        return Named().Submit(batch, forward);
    }

    public void Collect(long ticket, Span<int> tokens)
    {
        Named().Collect(ticket, tokens);
        Collected?.Invoke();
    }

    public void CollectLogProbabilities(long ticket, Span<TokenLogProbability> target) => Named().CollectLogProbabilities(ticket, target);

    public void Embed(Tensor output, Tensor table, RaggedBatch batch) => Named().Embed(output, table, batch);

    public void AddPositions(Tensor output, Tensor table, int offset, RaggedBatch batch) => Named().AddPositions(output, table, offset, batch);

    public void Norm(Tensor output, Tensor input, NormWeights weights) => Named().Norm(output, input, weights);

    public void Linear(Tensor output, in LinearInput input, LinearWeights weights, Activation activation = Activation.None, bool accumulate = false) =>
        Named().Linear(output, input, weights, activation, accumulate);

    public void LinearSum(Tensor output, Tensor first, LinearWeights firstWeights, Tensor second, LinearWeights secondWeights) =>
        Named().LinearSum(output, first, firstWeights, second, secondWeights);

    public void GatedLinear(Tensor output, in LinearInput input, LinearWeights gateUp, Activation activation) => Named().GatedLinear(output, input, gateUp, activation);

    public void StoreKv(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch) => Named().StoreKv(qkv, cache, attention, batch);

    public void ProjectQkv(Tensor qkv, in LinearInput input, LinearWeights weights, KvLayer cache, AttentionWeights attention, RaggedBatch batch) =>
        Named().ProjectQkv(qkv, input, weights, cache, attention, batch);

    public void ProjectQkvAndUp(Tensor qkv, Tensor up, in LinearInput input, LinearWeights qkvWeights, LinearWeights upWeights, Activation activation, KvLayer cache, AttentionWeights attention, RaggedBatch batch) =>
        Named().ProjectQkvAndUp(qkv, up, input, qkvWeights, upWeights, activation, cache, attention, batch);

    public void Attention(Tensor output, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch) => Named().Attention(output, qkv, cache, attention, batch);

    public void MixtureOfExperts(Tensor output, in LinearInput input, ExpertWeights weights)
    {
        if (Mixing?.Invoke(inner, output, input, weights) != true) Named().MixtureOfExperts(output, input, weights);
    }

    public void AddGated(Tensor output, in LinearInput input, LinearWeights gate, Tensor rows, LinearWeights down) => Named().AddGated(output, input, gate, rows, down);

    public void SelectRows(Tensor output, Tensor input, RaggedBatch batch) => Named().SelectRows(output, input, batch);

    public void Sample(Tensor logits, RaggedBatch batch) => Named().Sample(logits, batch);

    public void Dispose() => inner.Dispose();

    private IBackend Taken([CallerMemberName] string call = "")
    {
        Taking?.Invoke(call);
        return inner;
    }

    private IBackend Named([CallerMemberName] string call = "")
    {
        Calling?.Invoke(call);
        return inner;
    }
}
