using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Tensor maps of row-major 16-bit matrices in boxes of 64 columns, swizzled by 128 bytes; each is made once.</summary>
internal sealed unsafe class TensorMaps
{
    private const int BoxColumns = 64;
    private const int Alignment = 128;

    private readonly Dictionary<(nint Data, int Rows, int Columns, int Box), TensorMap> _maps = [];

    /// <summary>The map of a matrix whose boxes have <paramref name="boxRows"/> rows, at most 256.</summary>
    public TensorMap Of(Tensor matrix, int boxRows)
    {
        (nint, int, int, int) key = (matrix.Data, matrix.Rows, matrix.Columns, boxRows);
        if (_maps.TryGetValue(key, out TensorMap map)) return map;
        TensorMap* aligned = (TensorMap*)NativeMemory.AlignedAlloc((nuint)sizeof(TensorMap), Alignment);
        try
        {
            ulong* sizes = stackalloc ulong[2] { (ulong)matrix.Columns, (ulong)matrix.Rows };
            ulong stride = (ulong)matrix.Columns * (ulong)matrix.Type.Size();
            uint* box = stackalloc uint[2] { BoxColumns, (uint)boxRows };
            uint* steps = stackalloc uint[2] { 1, 1 };
            CudaDriver.Check(CudaDriver.cuTensorMapEncodeTiled(aligned, TensorMap.TypeOf(matrix.Type), 2, matrix.Data, sizes, &stride, box, steps, 0, TensorMap.Swizzle128, TensorMap.Promotion256, 0));
            return _maps[key] = *aligned;
        }
        finally
        {
            NativeMemory.AlignedFree(aligned);
        }
    }
}
