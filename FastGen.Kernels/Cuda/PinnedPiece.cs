using System.Buffers;

namespace FastGen.Kernels.Cuda;

/// <summary>A piece of page-locked host memory, and the event that says when the device has done with it.</summary>
internal sealed unsafe class PinnedPiece(nint address, int length, nint free) : MemoryManager<byte>
{
    public nint Address => address;

    public int Length => length;

    /// <summary>Recorded after the last copy from or to it.</summary>
    public nint Free => free;

    public bool Holds(void* place) => (nint)place >= address && (nint)place < address + length;

    public override Span<byte> GetSpan() => new((void*)address, length);

    public override MemoryHandle Pin(int elementIndex = 0) => new((byte*)address + elementIndex);

    public override void Unpin()
    {
    }

    // The device that allocated the memory frees it.
    protected override void Dispose(bool disposing)
    {
    }
}
