using System.Runtime.ExceptionServices;
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
    public static RowSpan All(string name, int rows) => new(name, rows, 0, rows);
}

/// <summary>
/// Carries tensors from a checkpoint to a backend in chunks of whole rows through the backend's own buffers, so that the peak of host memory
/// does not depend on the model. Several threads read a chunk while the one before is copied. Remembers what was used.
/// </summary>
internal sealed class WeightLoader(Checkpoint checkpoint, IBackend backend, DType matrixType, IProgress<LoadProgress>? progress = null, CancellationToken cancellation = default)
{
    /// <summary>Bytes read at once, where a row is not longer.</summary>
    public const int ChunkBytes = 32 << 20;

    private const int MostReaders = 8;
    private const int LeastBytesOfAReader = 1 << 20;

    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private long _bytesRead;

    /// <summary>Where tensors come from.</summary>
    public Checkpoint Checkpoint { get; } = checkpoint;

    /// <summary>Where they go.</summary>
    public IBackend Backend { get; } = backend;

    /// <summary>Storage of matrices once loaded.</summary>
    public DType MatrixType { get; } = matrixType;

    /// <summary>Names of tensors that nothing has asked for.</summary>
    public IEnumerable<string> Unused => Checkpoint.Names.Where(name => !_used.Contains(name));

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
        int length = TotalRows(spans), at = 0;
        Tensor vector = Backend.Allocate(DType.F32, 1, length);
        Memory<byte> values = Backend.UploadBuffer(checked(length * type.Size()));
        for (int i = 0; i < spans.Length; i++)
        {
            Memory<byte> part = values.Slice(at, spans[i].Count * type.Size());
            Read(stored[i], (long)spans[i].First * type.Size(), part);
            at += part.Length;
        }
        Backend.Upload(values.Span, type, vector);
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
            cancellation.ThrowIfCancellationRequested();
            Span<float> values = chunk.AsSpan(0, Math.Min(chunkRows, rows - row) * columns);
            fill(row, values);
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
        int most = (int)Math.Min(LeastBytesOfAReader, first.Bytes);
        byte[] firstBytes = new byte[most], secondBytes = new byte[most];
        for (long offset = 0; offset < first.Bytes; offset += most)
        {
            cancellation.ThrowIfCancellationRequested();
            int length = (int)Math.Min(most, first.Bytes - offset);
            Span<byte> left = firstBytes.AsSpan(0, length), right = secondBytes.AsSpan(0, length);
            Checkpoint.Read(first, offset, left);
            Checkpoint.Read(second, offset, right);
            if (!left.SequenceEqual(right)) return true;
        }
        return false;
    }

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
            stored[i] = Checkpoint.Require(spans[i].Name, [spans[i].Rows, .. rowShape]);
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
            Memory<byte> chunk = Backend.UploadBuffer(checked((int)(rows * rowBytes)));
            Read(stored, (span.First + done) * rowBytes, chunk);
            Backend.Upload(chunk.Span, type, target, targetRow + done);
        }
    }

    private void Read(StoredTensor stored, long offset, Memory<byte> target)
    {
        cancellation.ThrowIfCancellationRequested();
        int readers = Math.Clamp(target.Length / LeastBytesOfAReader, 1, Math.Min(MostReaders, Environment.ProcessorCount));
        if (readers == 1) Checkpoint.Read(stored, offset, target.Span);
        else ReadTogether(stored, offset, target, readers);
        _bytesRead += target.Length;
        progress?.Report(new LoadProgress(_bytesRead, Checkpoint.TotalBytes, stored.Name));
    }

    // One thread copies from the system's file cache more slowly than a device takes it.
    private void ReadTogether(StoredTensor stored, long offset, Memory<byte> target, int readers)
    {
        int share = (target.Length + readers - 1) / readers;
        try
        {
            Parallel.For(0, readers, reader =>
            {
                int start = reader * share;
                Checkpoint.Read(stored, offset + start, target[start..Math.Min(start + share, target.Length)].Span);
            });
        }
        catch (AggregateException exception)
        {
            ExceptionDispatchInfo.Throw(exception.InnerExceptions[0]);
        }
    }

    private static DType TypeOf(StoredTensor stored) => stored.TryGetType(out DType? type) ? type.Value : throw new InvalidOperationException($"{stored} is not required by type.");
}
