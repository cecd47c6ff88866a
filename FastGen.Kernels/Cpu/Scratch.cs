using System.Runtime.InteropServices;

namespace FastGen.Kernels.Cpu;

/// <summary>Native memory for what lives only within one operation. It grows to the largest that was asked for; growing loses its content.</summary>
internal sealed unsafe class Scratch : IDisposable
{
    private void* _data;
    private long _bytes;

    /// <summary>Room for <paramref name="count"/> floats, and a vector's width past them.</summary>
    public float* Floats(long count)
    {
        long bytes = (count * sizeof(float)) + HostMemory.Alignment;
        if (bytes <= _bytes) return (float*)_data;
        Dispose();
        _data = NativeMemory.AlignedAlloc((nuint)bytes, HostMemory.Alignment);
        _bytes = bytes;
        return (float*)_data;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_data);
        _data = null;
        _bytes = 0;
    }
}

/// <summary>A piece of scratch memory for each worker.</summary>
internal readonly unsafe struct WorkerScratch(float* data, long stride)
{
    private readonly float* _data = data;
    private readonly long _stride = stride;

    /// <summary>The piece of <paramref name="worker"/>.</summary>
    public float* Of(int worker) => _data + (worker * _stride);

    /// <summary>Takes a piece of at least <paramref name="floats"/> for each of <paramref name="workers"/>.</summary>
    public static WorkerScratch Take(Scratch scratch, int workers, long floats)
    {
        // Whole pages apart, so that no line and no prefetched neighbour is shared.
        const long PageFloats = 1024;
        long stride = (floats + PageFloats - 1) / PageFloats * PageFloats;
        return new WorkerScratch(scratch.Floats(workers * stride), stride);
    }
}
