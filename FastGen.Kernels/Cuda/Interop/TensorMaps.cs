using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Kernels.Cuda.Interop;

/// <summary>Tensor maps of matrices, made once each: boxes of 64 columns, 128 bytes of a row, that lie swizzled in shared memory.</summary>
/// <param name="device">The device.</param>
/// <param name="promotion">Of <see cref="TensorMap"/>: 128 bytes were 1 to 3 % faster where weights pass once at the memory's rate, 256 up to 1 % where tiles are read several times.</param>
internal sealed unsafe class TensorMaps(CudaDevice device, int promotion)
{
    /// <summary>Columns of a box.</summary>
    public const int BoxColumns = 64;

    private readonly Dictionary<(nint Data, int Rows, int Columns, int BoxRows), TensorMap> _maps = [];

    /// <summary>A 16-bit <paramref name="matrix"/> by boxes of <paramref name="boxRows"/> rows. What lies outside of it reads as zeros.</summary>
    public TensorMap Get(Tensor matrix, int boxRows)
    {
        if (device.Rehearsal is not null) return default;
        (nint, int, int, int) key = (matrix.Data, matrix.Rows, matrix.Columns, boxRows);
        if (_maps.TryGetValue(key, out TensorMap map)) return map;
        TensorMap* aligned = (TensorMap*)NativeMemory.AlignedAlloc((nuint)sizeof(TensorMap), 128);
        try
        {
            ulong* sizes = stackalloc ulong[2] { (ulong)matrix.Columns, (ulong)matrix.Rows };
            ulong stride = (ulong)matrix.Columns * (ulong)matrix.Type.Size();
            uint* box = stackalloc uint[2] { BoxColumns, (uint)boxRows };
            uint* steps = stackalloc uint[2] { 1, 1 };
            CudaDriver.Check(CudaDriver.cuTensorMapEncodeTiled(aligned, TensorMap.TypeOf(matrix.Type), 2, matrix.Data, sizes, &stride, box, steps, 0, TensorMap.Swizzle128, promotion, 0));
            return _maps[key] = *aligned;
        }
        finally
        {
            NativeMemory.AlignedFree(aligned);
        }
    }
}
