using FastGen.Compute;

namespace FastGen.Models;

/// <summary>Bytes of a tensor.</summary>
/// <param name="Tensor">The tensor.</param>
/// <param name="Offset">The first byte wanted.</param>
/// <param name="Bytes">How many are wanted.</param>
internal readonly record struct ByteRange(StoredTensor Tensor, long Offset, int Bytes);

/// <summary>
/// Chunks of a checkpoint on their way to a backend, in order: while the backend takes one over, several threads read the next ones into its buffers, since one
/// thread copies from the system's file cache more slowly than a device takes it. Belongs to one thread.
/// </summary>
/// <param name="checkpoint">Where they come from.</param>
/// <param name="backend">Where they go.</param>
/// <param name="taken">Told of each range once it was read.</param>
internal sealed class ReadAhead(Checkpoint checkpoint, IBackend backend, Action<ByteRange> taken) : IDisposable
{
    // As many buffers as a backend has out at once.
    private const int MostChunks = 2;
    private const int MostReaders = 8;
    private const int LeastBytesOfAReader = 1 << 20;

    private readonly Queue<Chunk> _chunks = new(MostChunks);

    /// <summary>
    /// Starts to read ranges end to end, for rows of <paramref name="target"/> from <paramref name="firstRow"/> on; takes over earlier chunks as room is needed.
    /// What a target of F16 cannot hold is refused when its chunk is taken over.
    /// </summary>
    public void Add(ReadOnlySpan<ByteRange> ranges, DType type, Tensor target, int firstRow)
    {
        int bytes = 0;
        foreach (ByteRange range in ranges) bytes = checked(bytes + range.Bytes);
        if (_chunks.Count == MostChunks) TakeNext();
        Memory<byte> buffer = backend.UploadBuffer(bytes);
        _chunks.Enqueue(new Chunk(buffer, ranges.ToArray(), Start(ranges, buffer, type, target.Type == DType.F16), type, target, firstRow));
    }

    /// <summary>Waits until all chunks are read and taken over.</summary>
    public void Complete()
    {
        while (_chunks.Count > 0) TakeNext();
    }

    /// <summary>Waits for what is being read, which would else be written into memory that is gone.</summary>
    public void Dispose()
    {
        foreach (Task task in _chunks.SelectMany(chunk => chunk.Reading)) task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing).GetAwaiter().GetResult();
        _chunks.Clear();
    }

    private void TakeNext()
    {
        Chunk chunk = _chunks.Peek();
        foreach (Task task in chunk.Reading) task.GetAwaiter().GetResult();
        _chunks.Dequeue();
        backend.Upload(chunk.Buffer.Span, chunk.Type, chunk.Target, chunk.FirstRow);
        foreach (ByteRange range in chunk.Ranges) taken(range);
    }

    // A reader's share is a whole number of values.
    private List<Task> Start(ReadOnlySpan<ByteRange> ranges, Memory<byte> buffer, DType type, bool checksHalfRange)
    {
        List<Task> tasks = [];
        int at = 0;
        foreach (ByteRange range in ranges)
        {
            int readers = Math.Clamp(range.Bytes / LeastBytesOfAReader, 1, Math.Min(MostReaders, Environment.ProcessorCount)), share = ((range.Bytes / readers) + sizeof(float)) / sizeof(float) * sizeof(float);
            for (int start = 0; start < range.Bytes; start += share)
            {
                Memory<byte> part = buffer.Slice(at + start, Math.Min(share, range.Bytes - start));
                (StoredTensor tensor, long offset) = (range.Tensor, range.Offset + start);
                tasks.Add(Task.Run(() =>
                {
                    checkpoint.Read(tensor, offset, part.Span);
                    if (checksHalfRange) HalfRange.Check(part.Span, type, tensor);
                }));
            }
            at += range.Bytes;
        }
        return tasks;
    }

    private sealed record Chunk(Memory<byte> Buffer, ByteRange[] Ranges, List<Task> Reading, DType Type, Tensor Target, int FirstRow);
}
