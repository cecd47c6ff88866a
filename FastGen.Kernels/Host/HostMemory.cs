using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Kernels;

/// <summary>Owns all native memory of one backend. Blocks start at a multiple of 64 bytes, are zero, and take pages only when touched.</summary>
internal sealed unsafe class HostMemory : IDisposable
{
    /// <summary>A cache line, and the widest vector.</summary>
    public const int Alignment = 64;

    // What was handed out, and the allocation that it lies in.
    private readonly Dictionary<nint, nint> _allocations = [];

    /// <summary>Zeroed memory with a readable vector's width past its end.</summary>
    public nint Allocate(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        void* allocation;
        try
        {
            // calloc leaves fresh pages untouched, which an aligned allocation and a fill would not.
            allocation = NativeMemory.AllocZeroed((nuint)bytes + (2 * Alignment));
        }
        catch (OutOfMemoryException exception)
        {
            throw new InsufficientMemoryException($"{bytes:N0} bytes of host memory are not available; load a smaller model or give the key/value cache less.", exception);
        }
        nint address = (nint)(((nuint)allocation + Alignment - 1) & ~(nuint)(Alignment - 1));
        _allocations.Add(address, (nint)allocation);
        return address;
    }

    /// <summary>A row-major matrix of zeros.</summary>
    public Tensor Matrix(DType type, int rows, int columns) => new(Allocate((long)rows * columns * type.Size()), type, rows, columns);

    /// <summary>Gives memory back that <see cref="Allocate"/> gave.</summary>
    public void Free(nint address)
    {
        if (!_allocations.Remove(address, out nint allocation)) throw new ArgumentException($"The memory at {address:X} is not of this backend, or was given back before.", nameof(address));
        NativeMemory.Free((void*)allocation);
    }

    public void Dispose()
    {
        foreach (nint allocation in _allocations.Values) NativeMemory.Free((void*)allocation);
        _allocations.Clear();
    }
}
