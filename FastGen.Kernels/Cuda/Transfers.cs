using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda;

/// <summary>Copies between host and device through pinned memory, two pieces in flight; types are converted on the device.</summary>
internal sealed unsafe class Transfers(CudaDevice device, KernelLibrary kernels, CudaScratch scratch) : IDisposable
{
    private const int PieceBytes = 32 << 20;

    private readonly nint[] _pinned = new nint[2], _free = new nint[2];
    private int _next;

    /// <summary>Queues the copy of <paramref name="source"/>, which has been read when this returns.</summary>
    public void Upload(ReadOnlySpan<byte> source, DType sourceType, nint target, DType targetType)
    {
        int size = sourceType.Size();
        for (int at = 0; at < source.Length; at += PieceBytes)
        {
            ReadOnlySpan<byte> piece = source.Slice(at, Math.Min(PieceBytes, source.Length - at));
            int index = Acquire();
            piece.CopyTo(new Span<byte>((void*)_pinned[index], piece.Length));
            nint place = target + (nint)((long)at / size * targetType.Size());
            nint landing = sourceType == targetType ? place : scratch.Get(ScratchUse.Conversion, PieceBytes);
            CudaDriver.Check(CudaDriver.cuMemcpyHtoDAsync_v2(landing, _pinned[index], (nuint)piece.Length, device.Stream));
            if (landing != place) Convert(landing, sourceType, place, targetType, piece.Length / size);
            CudaDriver.Check(CudaDriver.cuEventRecord(_free[index], device.Stream));
        }
    }

    /// <summary>Waits for all queued work and reads values as F32.</summary>
    public void Download(Tensor source, Span<float> target)
    {
        long count = (long)source.Rows * source.Columns;
        const int Piece = PieceBytes / sizeof(float);
        for (long at = 0; at < count; at += Piece)
        {
            int length = (int)Math.Min(Piece, count - at), index = Acquire();
            nint place = source.Data + (nint)(at * source.Type.Size());
            if (source.Type != DType.F32)
            {
                nint widened = scratch.Get(ScratchUse.Conversion, PieceBytes);
                Convert(place, source.Type, widened, DType.F32, length);
                place = widened;
            }
            CudaDriver.Check(CudaDriver.cuMemcpyDtoHAsync_v2(_pinned[index], place, (nuint)length * sizeof(float), device.Stream));
            device.Synchronize();
            new ReadOnlySpan<float>((void*)_pinned[index], length).CopyTo(target[(int)at..]);
        }
        device.Synchronize();
    }

    /// <summary>Converts values on the device.</summary>
    public void Convert(nint source, DType sourceType, nint target, DType targetType, long count)
    {
        ConvertArguments arguments = new() { Input = source, Output = target, Count = count };
        kernels.Get("rows", "convert", new KernelConstants { In = sourceType, Out = targetType })
            .Launch(arguments, ((int)Math.Min((count + 255) / 256, 16 * device.Multiprocessors), 1, 1), threads: 256);
    }

    public void Dispose()
    {
        foreach (nint handle in _free)
        {
            if (handle != 0) _ = CudaDriver.cuEventDestroy_v2(handle);
        }
        Array.Clear(_free);
        Array.Clear(_pinned);
    }

    // A pinned piece whose last copy is done.
    private int Acquire()
    {
        int index = _next;
        _next ^= 1;
        if (_pinned[index] == 0)
        {
            _pinned[index] = device.AllocatePinned(PieceBytes);
            _free[index] = CudaDevice.CreateEvent();
        }
        CudaDriver.Check(CudaDriver.cuEventSynchronize(_free[index]));
        return index;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ConvertArguments
    {
        public nint Input, Output;
        public long Count;
    }
}
