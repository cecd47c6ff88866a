using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Models;

/// <summary>Some rows of a tensor.</summary>
/// <param name="Name">The tensor.</param>
/// <param name="Rows">Rows that it has.</param>
/// <param name="First">The first wanted.</param>
/// <param name="Count">How many are wanted.</param>
internal readonly record struct RowSpan(string Name, int Rows, int First, int Count)
{
    /// <summary>Where the tensor has one dimension more: in how many groups its rows lie; 0 where it has not.</summary>
    public int Groups { get; init; }

    /// <summary>The shape that the tensor must have.</summary>
    public long[] Shape(ReadOnlySpan<long> rowShape) => Groups == 0 ? [Rows, .. rowShape] : [Groups, Rows / Groups, .. rowShape];

    public static RowSpan All(string name, int rows) => new(name, rows, 0, rows);
}

/// <summary>
/// Carries tensors from a checkpoint to a backend in chunks of whole rows through the backend's own buffers, so that the peak of host memory
/// does not depend on the model. What was loaded is there after <see cref="Complete"/>. Remembers what was used.
/// </summary>
internal sealed class WeightLoader : IDisposable
{
    /// <summary>Bytes read at once, where a row is not longer.</summary>
    public const int ChunkBytes = 16 << 20;

    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private readonly IProgress<LoadProgress>? _progress;
    private readonly CancellationToken _cancellation;
    private readonly ReadAhead _ahead;
    private long _bytesRead;

    /// <param name="checkpoint">Where tensors come from.</param>
    /// <param name="backend">Where they go.</param>
    /// <param name="matrixType">Storage of matrices once loaded.</param>
    /// <param name="progress">Told after every chunk.</param>
    /// <param name="cancellation">Stops loading between chunks.</param>
    public WeightLoader(Checkpoint checkpoint, IBackend backend, DType matrixType, IProgress<LoadProgress>? progress = null, CancellationToken cancellation = default)
    {
        (Checkpoint, Backend, MatrixType, _progress, _cancellation) = (checkpoint, backend, matrixType, progress, cancellation);
        _ahead = new ReadAhead(checkpoint, backend, Report);
    }

    /// <summary>Where tensors come from.</summary>
    public Checkpoint Checkpoint { get; }

    /// <summary>Where they go.</summary>
    public IBackend Backend { get; }

    /// <summary>Storage of matrices once loaded.</summary>
    public DType MatrixType { get; }

    /// <summary>Names of tensors that nothing has asked for.</summary>
    public IEnumerable<string> Unused => Checkpoint.Names.Where(name => !_used.Contains(name));

    /// <summary>Takes a tensor that the model does not read for used.</summary>
    public void Disregard(string name) => _used.Add(name);

    /// <summary>Loads rows into a weight matrix.</summary>
    public Tensor LoadMatrix(ReadOnlySpan<RowSpan> spans, int columns)
    {
        StoredTensor[] stored = Find(spans, [columns]);
        return Load(Backend.AllocateWeights(MatrixType, TotalRows(spans), columns), spans, stored);
    }

    /// <summary>Loads rows into a row-major table of F32.</summary>
    public Tensor LoadTable(ReadOnlySpan<RowSpan> spans, int columns)
    {
        StoredTensor[] stored = Find(spans, [columns]);
        return Load(Backend.Allocate(DType.F32, TotalRows(spans), columns), spans, stored);
    }

    /// <summary>Loads vectors end to end into one of F32.</summary>
    public Tensor LoadVector(ReadOnlySpan<RowSpan> spans)
    {
        StoredTensor[] stored = Find(spans, []);
        DType type = TypeOf(stored[0]);
        if (stored.FirstOrDefault(other => TypeOf(other) != type) is { } odd)
        {
            throw new UnsupportedModelException(odd.File, $"dtype of tensor '{odd.Name}'", odd.TypeName, $"{type}, the type of '{stored[0].Name}', with which it is joined");
        }
        Tensor vector = Backend.Allocate(DType.F32, 1, TotalRows(spans));
        ByteRange[] ranges = new ByteRange[spans.Length];
        for (int i = 0; i < spans.Length; i++) ranges[i] = new ByteRange(stored[i], (long)spans[i].First * type.Size(), checked(spans[i].Count * type.Size()));
        Read(ranges, type, vector, firstRow: 0);
        return vector;
    }

    /// <summary>Loads values made here, such as rotary tables, as a row-major matrix of F32.</summary>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="fill">Fills a chunk of whole rows, given the number of its first.</param>
    public Tensor Compute(int rows, int columns, Action<int, Span<float>> fill)
    {
        Tensor table = Backend.Allocate(DType.F32, rows, columns);
        int chunkRows = Math.Clamp(ChunkBytes / (columns * sizeof(float)), 1, rows);
        float[] chunk = new float[chunkRows * columns];
        for (int row = 0; row < rows; row += chunkRows)
        {
            _cancellation.ThrowIfCancellationRequested();
            Span<float> values = chunk.AsSpan(0, Math.Min(chunkRows, rows - row) * columns);
            fill(row, values);
            Complete();
            Backend.Upload(MemoryMarshal.AsBytes(values), DType.F32, table, row);
        }
        return table;
    }

    /// <summary>True if both tensors exist and hold different values. Marks the first as used.</summary>
    public bool Differ(string name, string other)
    {
        if (!Checkpoint.TryFind(name, out StoredTensor? first)) return false;
        _used.Add(name);
        if (!Checkpoint.TryFind(other, out StoredTensor? second)) return true;
        if (first.TypeName != second.TypeName || !first.Shape.SequenceEqual(second.Shape)) return true;
        int most = (int)Math.Min(ChunkBytes, first.Bytes);
        byte[] firstBytes = new byte[most], secondBytes = new byte[most];
        for (long offset = 0; offset < first.Bytes; offset += most)
        {
            _cancellation.ThrowIfCancellationRequested();
            int length = (int)Math.Min(most, first.Bytes - offset);
            Span<byte> left = firstBytes.AsSpan(0, length), right = secondBytes.AsSpan(0, length);
            Checkpoint.Read(first, offset, left);
            Checkpoint.Read(second, offset, right);
            if (!left.SequenceEqual(right)) return true;
        }
        return false;
    }

    /// <summary>Waits until the backend has taken over all that was loaded.</summary>
    public void Complete() => _ahead.Complete();

    /// <summary>Waits for what is still being read.</summary>
    public void Dispose() => _ahead.Dispose();

    private static int TotalRows(ReadOnlySpan<RowSpan> spans)
    {
        int rows = 0;
        foreach (RowSpan span in spans) rows = checked(rows + span.Count);
        return rows;
    }

    // All shapes are checked before memory is taken for them.
    private StoredTensor[] Find(ReadOnlySpan<RowSpan> spans, ReadOnlySpan<long> rowShape)
    {
        StoredTensor[] stored = new StoredTensor[spans.Length];
        for (int i = 0; i < spans.Length; i++)
        {
            stored[i] = Checkpoint.Require(spans[i].Name, spans[i].Shape(rowShape));
            _used.Add(spans[i].Name);
        }
        return stored;
    }

    private Tensor Load(Tensor target, ReadOnlySpan<RowSpan> spans, ReadOnlySpan<StoredTensor> stored)
    {
        int row = 0;
        for (int i = 0; i < spans.Length; i++)
        {
            LoadRows(target, row, spans[i], stored[i]);
            row += spans[i].Count;
        }
        return target;
    }

    private void LoadRows(Tensor target, int targetRow, RowSpan span, StoredTensor stored)
    {
        DType type = TypeOf(stored);
        long rowBytes = (long)target.Columns * type.Size();
        int chunkRows = (int)Math.Clamp(ChunkBytes / rowBytes, 1, span.Count);
        for (int done = 0; done < span.Count; done += chunkRows)
        {
            int rows = Math.Min(chunkRows, span.Count - done);
            Read([new ByteRange(stored, (span.First + done) * rowBytes, checked((int)(rows * rowBytes)))], type, target, targetRow + done);
        }
    }

    private void Read(ReadOnlySpan<ByteRange> ranges, DType type, Tensor target, int firstRow)
    {
        _cancellation.ThrowIfCancellationRequested();
        _ahead.Add(ranges, type, target, firstRow);
    }

    private void Report(ByteRange range)
    {
        _bytesRead += range.Bytes;
        _progress?.Report(new LoadProgress(_bytesRead, Checkpoint.TotalBytes, range.Tensor.Name));
    }

    private static DType TypeOf(StoredTensor stored) => stored.TryGetType(out DType? type) ? type.Value : throw new InvalidOperationException($"{stored} is not required by type.");
}
