using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda;

/// <summary>
/// Copies between host and device through pinned memory, some pieces in flight: while one is copied the next are filled. Types are converted on the device.
/// </summary>
internal sealed unsafe class Transfers(CudaDevice device, KernelLibrary kernels, CudaScratch scratch) : IDisposable
{
    private const int PieceBytes = 16 << 20;

    // Two being filled and two being copied.
    private const int Pieces = 4;

    private readonly PinnedPiece?[] _pieces = new PinnedPiece?[Pieces];
    private int _next;

    /// <summary>Memory to fill and give to <see cref="Upload"/>: pinned, unless it is larger than a piece.</summary>
    public Memory<byte> Buffer(int bytes) => bytes > PieceBytes ? new byte[bytes] : Acquire().Memory[..bytes];

    /// <summary>Queues the copy of <paramref name="source"/>, which has been read when this returns unless it is pinned.</summary>
    public void Upload(ReadOnlySpan<byte> source, DType sourceType, nint target, DType targetType)
    {
        fixed (byte* data = source)
        {
            byte* place = data;
            if (Array.Find(_pieces, piece => piece is not null && piece.Holds(place)) is { } pinned)
            {
                Send(pinned, (nint)data, source.Length, sourceType, target, targetType);
                return;
            }
        }
        while (!source.IsEmpty)
        {
            ReadOnlySpan<byte> part = source[..Math.Min(PieceBytes, source.Length)];
            PinnedPiece piece = Acquire();
            part.CopyTo(piece.GetSpan());
            Send(piece, piece.Address, part.Length, sourceType, target, targetType);
            target += part.Length / sourceType.Size() * targetType.Size();
            source = source[part.Length..];
        }
    }

    /// <summary>Waits for all queued work and reads values as F32.</summary>
    public void Download(Tensor source, Span<float> target)
    {
        long count = (long)source.Rows * source.Columns;
        const int Length = PieceBytes / sizeof(float);
        for (long at = 0; at < count; at += Length)
        {
            int length = (int)Math.Min(Length, count - at);
            PinnedPiece piece = Acquire();
            nint place = source.Data + (nint)(at * source.Type.Size());
            if (source.Type != DType.F32)
            {
                nint widened = scratch.Get(ScratchUse.Conversion, PieceBytes);
                Convert(place, source.Type, widened, DType.F32, length);
                place = widened;
            }
            CudaDriver.Check(CudaDriver.cuMemcpyDtoHAsync_v2(piece.Address, place, (nuint)length * sizeof(float), device.Stream));
            device.Synchronize();
            new ReadOnlySpan<float>((void*)piece.Address, length).CopyTo(target[(int)at..]);
        }
        device.Synchronize();
    }

    /// <summary>Queues a copy within the device's memory.</summary>
    public void CopyOnDevice(nint source, nint target, long bytes)
    {
        device.CountLaunch();
        CudaDriver.Check(CudaDriver.cuMemcpyDtoDAsync_v2(target, source, (nuint)bytes, device.Stream));
    }

    /// <summary>Converts values on the device.</summary>
    public void Convert(nint source, DType sourceType, nint target, DType targetType, long count)
    {
        ConvertArguments arguments = new() { Input = source, Output = target, Count = count };
        kernels.Get("rows", "convert", new KernelConstants { In = sourceType, Out = targetType })
            .Launch(arguments, ((int)Math.Min((count + 255) / 256, 16 * device.Multiprocessors), 1, 1), threads: 256);
    }

    /// <summary>Gives the pinned memory back once no copy uses it; it is made anew when needed.</summary>
    public void Release()
    {
        device.Settle();
        foreach (PinnedPiece? piece in _pieces)
        {
            if (piece is null) continue;
            device.DestroyEvent(piece.Free);
            device.FreePinned(piece.Address);
        }
        Array.Clear(_pieces);
    }

    public void Dispose() => Release();

    private void Send(PinnedPiece piece, nint source, int bytes, DType sourceType, nint target, DType targetType)
    {
        nint landing = sourceType == targetType ? target : scratch.Get(ScratchUse.Conversion, PieceBytes);
        device.CountLaunch();
        CudaDriver.Check(CudaDriver.cuMemcpyHtoDAsync_v2(landing, source, (nuint)bytes, device.Stream));
        if (landing != target) Convert(landing, sourceType, target, targetType, bytes / sourceType.Size());
        CudaDriver.Check(CudaDriver.cuEventRecord(piece.Free, device.Stream));
    }

    // The next piece, its last copy done.
    private PinnedPiece Acquire()
    {
        int index = _next;
        _next = (_next + 1) % Pieces;
        PinnedPiece piece = _pieces[index] ??= MakePiece();
        device.AwaitEvent(piece.Free);
        return piece;
    }

    private PinnedPiece MakePiece()
    {
        nint free = device.CreateEvent();
        try
        {
            return new PinnedPiece(device.AllocatePinned(PieceBytes, clear: false), PieceBytes, free);
        }
        catch
        {
            device.DestroyEvent(free);
            throw;
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ConvertArguments
    {
        public nint Input, Output;
        public long Count;
    }
}
