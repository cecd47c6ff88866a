using System.Runtime.CompilerServices;
using FastGen.Compute;

namespace FastGen.Kernels;

/// <summary>
/// Passes every call on to another backend after checking it: that tensors belong to that backend and have the shapes and types that the operation
/// needs, and that a batch is consistent with itself and with the steps before. Errors name the operation and the sizes.
/// Meant for tests and for looking into a fault; steps take somewhat longer.
/// </summary>
/// <param name="inner">Does the work; disposed with this.</param>
public sealed partial class CheckedBackend(IBackend inner) : IBackend
{
    private readonly Dictionary<nint, Allocation> _allocations = [];
    private readonly Dictionary<long, int> _uncollected = [];
    private (long Ticket, int LogitRows) _collected = (-1, 0);
    private BatchChecker? _checker;
    private RaggedBatch? _submitted;

    private enum Layout
    {
        RowMajor,
        Weights,
        Cache,
    }

    private readonly record struct Allocation(Tensor Tensor, Layout Layout);

    /// <inheritdoc/>
    public string Description => $"{inner.Description}, checked";

    /// <inheritdoc/>
    public long DefaultCacheBytes => inner.DefaultCacheBytes;

    /// <inheritdoc/>
    public int TokenBudgetLimit => inner.TokenBudgetLimit;

    /// <inheritdoc/>
    public bool CompilesSteps => inner.CompilesSteps;

    /// <inheritdoc/>
    public Precision PrecisionFor(DType weights) => inner.PrecisionFor(weights);

    /// <inheritdoc/>
    public Tensor AllocateWeights(DType type, int rows, int columns)
    {
        RequireSize(rows, columns);
        return Remember(inner.AllocateWeights(type, rows, columns), Layout.Weights);
    }

    /// <inheritdoc/>
    public Tensor Allocate(DType type, int rows, int columns)
    {
        RequireSize(rows, columns);
        return Remember(inner.Allocate(type, rows, columns), Layout.RowMajor);
    }

    /// <inheritdoc/>
    public KvLayer AllocateKvLayer(DType type, int blocks, int blockSize, int kvHeads, int headDim)
    {
        RequireSize(blocks, blockSize);
        RequireSize(kvHeads, headDim);
        KvLayer layer = inner.AllocateKvLayer(type, blocks, blockSize, kvHeads, headDim);
        Remember(layer.Storage, Layout.Cache);
        return layer;
    }

    /// <inheritdoc/>
    public void FreeKvLayer(KvLayer layer)
    {
        Require(Find(layer.Storage, "the layer").Layout == Layout.Cache, $"{Shape(layer.Storage)} is no cache layer");
        Require(_uncollected.Count == 0, $"{_uncollected.Count} steps are uncollected, which may use it");
        inner.FreeKvLayer(layer);
        _allocations.Remove(layer.Storage.Data);
    }

    /// <inheritdoc/>
    public void Upload(ReadOnlySpan<byte> source, DType sourceType, Tensor target, int firstRow = 0)
    {
        Layout layout = Find(target, "target").Layout;
        Require(layout != Layout.Cache, "the target is a cache layer, which only StoreKv fills");
        long rowBytes = (long)target.Columns * sourceType.Size();
        Require(source.Length % rowBytes == 0, $"{source.Length} bytes are no whole rows of {target.Columns} {sourceType} values ({rowBytes} bytes)");
        long rows = source.Length / rowBytes;
        Require(firstRow >= 0 && firstRow + rows <= target.Rows, $"rows {firstRow} to {firstRow + rows} do not fit a target of {target.Rows} rows");
        inner.Upload(source, sourceType, target, firstRow);
    }

    /// <inheritdoc/>
    public Memory<byte> UploadBuffer(int bytes)
    {
        Require(bytes > 0, $"{bytes} bytes are no room");
        return inner.UploadBuffer(bytes);
    }

    /// <inheritdoc/>
    public void Download(Tensor source, Span<float> target)
    {
        RequireRowMajor(source, "source");
        Require(target.Length >= (long)source.Rows * source.Columns, $"{target.Length} values of room are too few for {Shape(source)}");
        inner.Download(source, target);
    }

    /// <inheritdoc/>
    public void Prepare(ModelShape shape, StepLimits limits)
    {
        ArgumentNullException.ThrowIfNull(shape);
        ArgumentNullException.ThrowIfNull(limits);
        Require(_checker is null, "it was called before");
        Require(limits is { Tokens: > 0, Sequences: > 0, BlockSize: > 0, BlocksPerSequence: > 0 }, $"{limits} has a size below 1");
        inner.Prepare(shape, limits);
        _checker = new BatchChecker(shape, limits);
    }

    /// <inheritdoc/>
    public void CompileSteps(RaggedBatch batch, Action<int, int> forward, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(forward);
        Require(_checker is not null, $"{nameof(Prepare)} comes before it");
        _submitted = batch;
        try
        {
            inner.CompileSteps(batch, forward, cancellationToken);
        }
        finally
        {
            _submitted = null;
        }
    }

    /// <inheritdoc/>
    public long Submit(RaggedBatch batch, Action<int, int> forward)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(forward);
        Require(_checker is not null, $"{nameof(Prepare)} comes before the first step");
        Require(_uncollected.Count <= 1, $"{_uncollected.Count} steps are uncollected; at most one other may be");
        if (_checker!.Fault(batch) is { } fault) throw new ArgumentException($"{nameof(Submit)}: {fault}.", nameof(batch));
        _submitted = batch;
        try
        {
            long ticket = inner.Submit(batch, forward);
            _uncollected.Add(ticket, batch.LogitRowCount);
            return ticket;
        }
        finally
        {
            _submitted = null;
        }
    }

    /// <inheritdoc/>
    public void Collect(long ticket, Span<int> tokens)
    {
        Require(_uncollected.Remove(ticket, out int logitRows), $"step {ticket} is not among those uncollected ({string.Join(", ", _uncollected.Keys)})");
        Require(tokens.Length == logitRows, $"there is room for {tokens.Length} ids, and step {ticket} has {logitRows} logit rows");
        inner.Collect(ticket, tokens);
        _collected = (ticket, logitRows);
    }

    /// <inheritdoc/>
    public void CollectLogProbabilities(long ticket, Span<TokenLogProbability> target)
    {
        Require(ticket == _collected.Ticket, $"step {ticket} is not the one collected last ({_collected.Ticket})");
        int room = _collected.LogitRows * RaggedBatch.LogProbabilitiesPerRow;
        Require(target.Length == room, $"there is room for {target.Length} log probabilities, and step {ticket} has {_collected.LogitRows} logit rows of {RaggedBatch.LogProbabilitiesPerRow}");
        inner.CollectLogProbabilities(ticket, target);
    }

    /// <inheritdoc/>
    public void Dispose() => inner.Dispose();

    private Tensor Remember(Tensor tensor, Layout layout, [CallerMemberName] string operation = "")
    {
        if (!_allocations.TryAdd(tensor.Data, new Allocation(tensor, layout))) throw new InvalidOperationException($"{operation}: {inner.Description} gave the same memory twice.");
        return tensor;
    }

    private static bool HasColumns(Tensor tensor, Allocation allocation) =>
        tensor.Columns == allocation.Tensor.Columns || (allocation.Layout == Layout.RowMajor && tensor.Columns > 0 && tensor.Columns < allocation.Tensor.Columns);

    // A tensor as an operation gets it may have fewer rows than were allocated, and where layers of several widths share a buffer fewer columns; it differs in nothing else.
    private Allocation Find(Tensor tensor, string name, [CallerMemberName] string operation = "")
    {
        bool known = _allocations.TryGetValue(tensor.Data, out Allocation allocation);
        Require(known, $"{name} {Shape(tensor)} was not allocated by this backend", operation);
        bool fits = tensor.Type == allocation.Tensor.Type && HasColumns(tensor, allocation) && tensor.Rows >= 0 && tensor.Rows <= allocation.Tensor.Rows;
        Require(fits, $"{name} is given as {Shape(tensor)}, but was allocated as {Shape(allocation.Tensor)}", operation);
        return allocation;
    }

    private void RequireRowMajor(Tensor tensor, string name, [CallerMemberName] string operation = "")
    {
        Layout layout = Find(tensor, name, operation).Layout;
        Require(layout == Layout.RowMajor, $"{name} {Shape(tensor)} is laid out as {layout}, not row by row", operation);
    }

    private static void RequireSize(int rows, int columns, [CallerMemberName] string operation = "") => Require(rows > 0 && columns > 0, $"[{rows}, {columns}] has a size below 1", operation);

    private static void Require(bool holds, [InterpolatedStringHandlerArgument(nameof(holds))] FaultMessage fault, [CallerMemberName] string operation = "")
    {
        if (!holds) throw new ArgumentException($"{operation}: {fault.Text}.");
    }

    private static string Shape(Tensor tensor) => $"[{tensor.Rows}, {tensor.Columns}] {tensor.Type}";

    /// <summary>Text that is put together only where a check fails.</summary>
    [InterpolatedStringHandler]
    internal ref struct FaultMessage
    {
        private DefaultInterpolatedStringHandler _text;

        /// <summary>Starts a text of interpolated parts.</summary>
        public FaultMessage(int literalLength, int formattedCount, bool holds, out bool isNeeded)
        {
            isNeeded = !holds;
            _text = holds ? default : new DefaultInterpolatedStringHandler(literalLength, formattedCount);
        }

        private FaultMessage(string text)
        {
            _text = new DefaultInterpolatedStringHandler(text.Length, 0);
            _text.AppendLiteral(text);
        }

        /// <summary>The text.</summary>
        public string Text => _text.ToStringAndClear();

        /// <summary>A text without parts.</summary>
        public static implicit operator FaultMessage(string text) => new(text);

        /// <summary>Appends literal text.</summary>
        public void AppendLiteral(string value) => _text.AppendLiteral(value);

        /// <summary>Appends a value.</summary>
        public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);
    }
}
