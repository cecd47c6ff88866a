using FastGen.Compute;

namespace FastGen.Kernels.Cuda;

/// <summary>What a scratch buffer holds between two kernels of one operation.</summary>
internal enum ScratchUse
{
    Normed,
    HalfNormed,
    Squares,
    Converted,
    Product,
    Gated,
    RouteProbabilities,
    RouteIndices,
    RouteArrivals,
    ExpertRows,
    ExpertGateUp,
    ExpertGated,
    ExpertResults,
    Gate,
    AttentionPartials,
    AttentionCounters,
    TilePartials,
    TileCounters,
    Conversion,
    SampleKeys,
    LogNormalizers,
    KeptLogits,
}

/// <summary>
/// Buffers that live for one operation, one for each use, grown to the largest ever asked for. An outgrown buffer stays until disposal,
/// since recorded steps still name it; the first step of a shape is never a recorded one, so nothing grows during a recording.
/// </summary>
internal sealed class CudaScratch(CudaDevice device)
{
    // Where a rehearsal has its buffers; nothing touches them.
    private const nint Imaginary = 1 << 20;

    private readonly Dictionary<ScratchUse, (nint Address, long Bytes)> _buffers = [];

    /// <summary>At least <paramref name="bytes"/> bytes.</summary>
    public nint Get(ScratchUse use, long bytes)
    {
        if (device.Rehearsal is not null) return Imaginary;
        if (_buffers.TryGetValue(use, out (nint Address, long Bytes) buffer) && buffer.Bytes >= bytes) return buffer.Address;
        (nint Address, long Bytes) grown = Grown(bytes, Math.Max(bytes, 2 * buffer.Bytes));
        _buffers[use] = grown;
        return grown.Address;
    }

    /// <summary>A row-major matrix.</summary>
    public Tensor Matrix(ScratchUse use, DType type, int rows, int columns) => new(Get(use, (long)rows * columns * type.Size()), type, rows, columns);

    // Room for what may come next, but where memory is short only for what is asked.
    private (nint Address, long Bytes) Grown(long least, long wanted)
    {
        try
        {
            return (device.Allocate(wanted, MemoryUse.Scratch), wanted);
        }
        catch (CudaOutOfMemoryException) when (wanted > least)
        {
            return (device.Allocate(least, MemoryUse.Scratch), least);
        }
    }
}
