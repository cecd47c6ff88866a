using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>The processor's backend for one vector width: memory and steps. A submitted step is done when <see cref="Submit"/> returns.</summary>
internal sealed unsafe partial class SimdBackend<TSimd, TVector> : IBackend
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly string _instructionSet;
    private readonly HostMemory _memory = new();
    private readonly UploadBuffers _uploadBuffers = new();
    private readonly HashSet<nint> _packed = [];
    private readonly WorkerPool _pool;
    private readonly Scratch _sums = new(), _rows = new(), _packedRows = new(), _uploaded = new();
    private SlotStates? _slots;
    private StepResults? _results;
    private StepSampler? _sampler;
    private int[] _tokens = [];
    private bool _disposed;

    public SimdBackend(string instructionSet, int threads)
    {
        _instructionSet = instructionSet;
        _pool = new WorkerPool(threads);
    }

    public string Description => $"CPU, {_instructionSet}, {_pool.Workers} {(_pool.Workers == 1 ? "thread" : "threads")}";

    public long DefaultCacheBytes => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4;

    public int TokenBudgetLimit => 512;

    private SlotStates Slots => _slots ?? throw NotPrepared();

    private StepResults Results => _results ?? throw NotPrepared();

    public Precision PrecisionFor(DType weights) => new(DType.F32, DType.F32, DType.F32, DType.F32);

    public Tensor AllocateWeights(DType type, int rows, int columns)
    {
        nint data = _memory.Allocate(PackedWeights<TSimd, TVector>.Bytes(type, rows, columns));
        _packed.Add(data);
        return new Tensor(data, type, rows, columns);
    }

    public Tensor Allocate(DType type, int rows, int columns) => _memory.Matrix(type, rows, columns);

    public KvLayer AllocateKvLayer(DType type, int blocks, int blockSize, int kvHeads, int headDim)
    {
        if (type != DType.F32) throw new NotSupportedException($"The processor's backend caches F32 (its {nameof(PrecisionFor)}), not {type}.");
        return new KvLayer(_memory.Matrix(type, blocks, KvBlocks<TSimd, TVector>.BlockLength(blockSize, kvHeads, headDim)), blockSize, kvHeads, headDim);
    }

    public void FreeKvLayer(KvLayer layer) => _memory.Free(layer.Storage.Data);

    public void Upload(ReadOnlySpan<byte> source, DType sourceType, Tensor target, int firstRow = 0)
    {
        long rowBytes = (long)target.Columns * sourceType.Size();
        if (!_packed.Contains(target.Data))
        {
            int values = source.Length / sourceType.Size();
            StoredValues.Convert(source, sourceType, new Span<byte>((byte*)target.Data + ((long)firstRow * target.Columns * target.Type.Size()), values * target.Type.Size()), target.Type);
            return;
        }
        int rows = (int)(source.Length / rowBytes);
        fixed (byte* data = source)
        {
            if (sourceType == target.Type) Pack(data, target, firstRow, rows);
            else UploadConverted(data, sourceType, target, firstRow, rows);
        }
    }

    public Memory<byte> UploadBuffer(int bytes) => _uploadBuffers.Get(bytes);

    public void Download(Tensor source, Span<float> target)
    {
        long bytes = source.Bytes;
        StoredValues.Widen(new ReadOnlySpan<byte>((void*)source.Data, checked((int)bytes)), source.Type, target[..(source.Rows * source.Columns)]);
    }

    public void Prepare(ModelShape shape, StepLimits limits)
    {
        _uploadBuffers.Release();
        _slots = new SlotStates(shape, limits);
        _results = new StepResults(limits);
        _tokens = GC.AllocateArray<int>(limits.Tokens, pinned: true);
        _sampler?.Dispose();
        _sampler = new StepSampler(_slots, _results, shape.VocabularySize, Math.Min(_pool.Workers, limits.Sequences));
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
        StepSampler sampler = _sampler ?? throw NotPrepared();
        Run(sampler.Work(logits, batch), batch.LogitRowCount == 1 ? 0 : long.MaxValue);
    }

    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _pool.Dispose();
        _sampler?.Dispose();
        _sums.Dispose();
        _rows.Dispose();
        _packedRows.Dispose();
        _uploaded.Dispose();
        _normed.Dispose();
        _gates.Dispose();
        _expertRows.Dispose();
        _expertResults.Dispose();
        _memory.Dispose();
    }

    // Handing out work costs a few microseconds, which small work is done in.
    private void Run<TWork>(TWork work, long multiplications)
        where TWork : unmanaged, IParallelWork
    {
        const long WorthSharing = 1 << 16;
        if (multiplications < WorthSharing) work.Run(0, 1);
        else _pool.Run(work);
    }

    private void Pack(byte* source, Tensor target, int firstRow, int rows) => Run(new UploadWork<TSimd, TVector>(source, new PackedWeights<TSimd, TVector>(target), firstRow, rows), (long)rows * target.Columns);

    private void UploadConverted(byte* source, DType sourceType, Tensor target, int firstRow, int rows)
    {
        const int RowsAtOnce = 256;
        for (int done = 0; done < rows; done += RowsAtOnce)
        {
            int count = Math.Min(RowsAtOnce, rows - done), values = count * target.Columns;
            byte* converted = (byte*)_uploaded.Floats(values);
            StoredValues.Convert(new ReadOnlySpan<byte>(source + ((long)done * target.Columns * sourceType.Size()), values * sourceType.Size()), sourceType, new Span<byte>(converted, values * target.Type.Size()), target.Type);
            Pack(converted, target, firstRow + done, count);
        }
    }

    private static InvalidOperationException NotPrepared() => new($"{nameof(Prepare)} comes before the first step.");

    private static int* Pointer(int[] pinned) => (int*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(pinned));
}

/// <summary>Packs uploaded rows, each worker whole panels.</summary>
internal readonly unsafe struct UploadWork<TSimd, TVector>(byte* source, PackedWeights<TSimd, TVector> weights, int firstRow, int rows) : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly byte* _source = source;
    private readonly PackedWeights<TSimd, TVector> _weights = weights;
    private readonly int _firstRow = firstRow, _endRow = firstRow + rows;

    public void Run(int worker, int workers)
    {
        int panelRows = PackedWeights<TSimd, TVector>.PanelRows, firstPanel = _firstRow / panelRows;
        (int start, int end) = Share.Of(PackedWeights<TSimd, TVector>.Panels(_endRow) - firstPanel, worker, workers);
        int row = Math.Max(_firstRow, (firstPanel + start) * panelRows), endRow = Math.Min(_endRow, (firstPanel + end) * panelRows);
        if (row < endRow) _weights.Pack(_source + ((long)(row - _firstRow) * _weights.Columns * _weights.Type.Size()), row, endRow - row);
    }
}
