using FastGen.Compute;

namespace FastGen.Kernels.Reference;

/// <summary>
/// Every operation of the waist as plain loops over scalars, summed in double precision: what the other backends are tested against.
/// Weights stay as stored, row-major; activations and the cache are F32. A cache block is [kv head][key, value][token][head column].
/// </summary>
internal sealed unsafe partial class ReferenceBackend : IBackend
{
    private readonly HostMemory _memory = new();
    private readonly UploadBuffers _uploadBuffers = new();
    private SlotStates? _slots;
    private StepResults? _results;

    public string Description => "CPU, reference loops";

    public long DefaultCacheBytes => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4;

    public int TokenBudgetLimit => 64;

    private SlotStates Slots => _slots ?? throw NotPrepared();

    private StepResults Results => _results ?? throw NotPrepared();

    public Precision PrecisionFor(DType weights) => new(DType.F32, DType.F32, DType.F32, DType.F32);

    public Tensor AllocateWeights(DType type, int rows, int columns) => _memory.Matrix(type, rows, columns);

    public Tensor Allocate(DType type, int rows, int columns) => _memory.Matrix(type, rows, columns);

    public KvLayer AllocateKvLayer(DType type, int blocks, int blockSize, int kvHeads, int headDim)
    {
        if (type != DType.F32) throw new NotSupportedException($"The reference backend caches F32 (its {nameof(PrecisionFor)}), not {type}.");
        return new KvLayer(_memory.Matrix(type, blocks, 2 * kvHeads * blockSize * headDim), blockSize, kvHeads, headDim);
    }

    public void FreeKvLayer(KvLayer layer) => _memory.Free(layer.Storage.Data);

    public void Upload(ReadOnlySpan<byte> source, DType sourceType, Tensor target, int firstRow = 0)
    {
        int values = source.Length / sourceType.Size();
        Span<byte> rows = new((byte*)target.Data + ((long)firstRow * target.Columns * target.Type.Size()), values * target.Type.Size());
        StoredValues.Convert(source, sourceType, rows, target.Type);
    }

    public Memory<byte> UploadBuffer(int bytes) => _uploadBuffers.Get(bytes);

    public void Download(Tensor source, Span<float> target)
    {
        for (int row = 0; row < source.Rows; row++) ReadRow(source, row, target.Slice(row * source.Columns, source.Columns));
    }

    public void Prepare(ModelShape shape, StepLimits limits)
    {
        _uploadBuffers.Release();
        _slots = new SlotStates(shape, limits);
        _results = new StepResults(limits);
    }

    public long Submit(RaggedBatch batch, Action<int, int> forward)
    {
        long ticket = Results.Begin();
        Slots.Update(batch);
        forward(batch.TokenCount, batch.LogitRowCount);
        return ticket;
    }

    public void Collect(long ticket, Span<int> tokens) => Results.Collect(ticket, tokens);

    public void CollectLogProbabilities(long ticket, Span<TokenLogProbability> target) => Results.CollectLogProbabilities(ticket, target);

    public void Sample(Tensor logits, RaggedBatch batch)
    {
        if (Slots.WantsLogProbabilities(batch)) Results.ReserveLogProbabilities();
        for (int i = 0; i < batch.LogitRowCount; i++)
        {
            int slot = batch.LogitSlots[i];
            float[] row = Row(logits, i).ToArray();
            Slots.Penalties(slot)?.Apply(row, Slots.Sampling(slot));
            foreach (int token in batch.SuppressedTokens[batch.SuppressedStarts[i]..batch.SuppressedStarts[i + 1]]) row[token] = float.NegativeInfinity;
            int drawn = ReferenceSampler.Draw(row, Slots.Sampling(slot), batch.LogitPositions[i]);
            Results.Current[i] = drawn;
            Slots.SetLastDrawn(slot, drawn);
            int wanted = Math.Min(Slots.Sampling(slot).LogProbabilities, 1 + row.Length);
            if (wanted > 0 && drawn >= 0) ReferenceSampler.LogProbabilities(Row(logits, i), drawn, Results.LogProbabilities(i)[..wanted]);
        }
    }

    public void Dispose() => _memory.Dispose();

    private static InvalidOperationException NotPrepared() => new($"{nameof(Prepare)} comes before the first step.");

    // The values of a row of F32.
    private static Span<float> Row(Tensor tensor, int row) => new((float*)tensor.Data + ((long)row * tensor.Columns), tensor.Columns);

    private static Span<float> Vector(Tensor tensor) => Row(tensor, 0);

    private static void ReadRow(Tensor tensor, int row, Span<float> target)
    {
        int bytes = tensor.Columns * tensor.Type.Size();
        StoredValues.Widen(new ReadOnlySpan<byte>((byte*)tensor.Data + ((long)row * bytes), bytes), tensor.Type, target);
    }
}
