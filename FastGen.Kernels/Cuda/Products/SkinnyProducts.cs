using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of 5 to 128 rows on Hopper: skinny.cu.</summary>
internal sealed unsafe class SkinnyProducts(CudaDevice device, KernelLibrary kernels, int maxRows)
{
    private const int BlockColumns = 64;
    private const int ManyOutputs = 32768;
    private const int LargeRing = 192 << 10;
    private const int SmallRing = 100 << 10;
    private const int Alignment = 1024;

    private readonly Dictionary<(nint Data, int Rows, int Columns, int Box), TensorMap> _maps = [];

    /// <summary>Whether the kernel serves this product; the input has the weights' type.</summary>
    public bool Serves(int rows, Tensor weight) =>
        kernels.UsesHopperInstructions && rows <= maxRows && weight.Type != DType.F32 && weight.Columns % 8 == 0 && weight.Columns >= 2 * BlockColumns && weight.Rows % 8 == 0;

    /// <summary>output = activation(input · weightᵀ + bias), gated or added to the output.</summary>
    public void Run(Tensor output, Tensor input, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        bool large = !gated && output.Columns >= ManyOutputs;
        int tile = large ? 128 : 64, rows = RowTile(input.Rows), blocks = large || weights.Inputs < 4 * BlockColumns ? 1 : 2;
        int outputs = gated ? tile / 2 : tile, tiles = (output.Columns + outputs - 1) / outputs, stageBytes = (tile + rows) * 128 * blocks;
        int steps = (weights.Inputs + (BlockColumns * blocks) - 1) / (BlockColumns * blocks);
        int splits = Splits(tiles, steps);
        // One CTA an SM with a large ring, or two with smaller ones where the grid has more.
        int stages = Math.Clamp((tiles * splits > device.Multiprocessors ? SmallRing : LargeRing) / stageBytes, 2, 8);
        KernelConstants constants = new()
        {
            Weight = weights.Weight.Type,
            Out = output.Type,
            Activation = activation,
            Gated = gated,
            Accumulate = accumulate,
            Shape = (tile, rows, blocks, stages),
        };
        SkinnyArguments arguments = new()
        {
            WeightMap = MapOf(weights.Weight, outputs),
            InputMap = MapOf(input, rows),
            Output = output.Data,
            Bias = weights.Bias?.Data ?? 0,
            Rows = input.Rows,
            Outputs = output.Columns,
            Columns = weights.Inputs,
            Splits = splits,
        };
        int sharedBytes = Math.Max(stages * stageBytes, rows * (tile + 4) * sizeof(float)) + Alignment;
        kernels.Get("skinny", "skinny", constants).Launch(arguments, (tiles * splits, 1, 1), threads: 160, sharedBytes, cluster: splits);
    }

    private static int RowTile(int rows) => rows <= 8 ? 8 : rows <= 16 ? 16 : rows <= 32 ? 32 : rows <= 64 ? 64 : 128;

    // Clusters do not tile the chip: of 132 multiprocessors 66 pairs fit, but only 30 fours.
    private int Splits(int tiles, int steps) =>
        4 * tiles <= device.Multiprocessors - 12 && steps >= 8 ? 4 : 2 * tiles <= device.Multiprocessors && steps >= 4 ? 2 : 1;

    private TensorMap MapOf(Tensor matrix, int boxRows)
    {
        (nint, int, int, int) key = (matrix.Data, matrix.Rows, matrix.Columns, boxRows);
        if (_maps.TryGetValue(key, out TensorMap map)) return map;
        TensorMap* aligned = (TensorMap*)NativeMemory.AlignedAlloc((nuint)sizeof(TensorMap), 128);
        try
        {
            ulong* sizes = stackalloc ulong[2] { (ulong)matrix.Columns, (ulong)matrix.Rows };
            ulong stride = (ulong)matrix.Columns * (ulong)matrix.Type.Size();
            uint* box = stackalloc uint[2] { BlockColumns, (uint)boxRows };
            uint* steps = stackalloc uint[2] { 1, 1 };
            CudaDriver.Check(CudaDriver.cuTensorMapEncodeTiled(aligned, TensorMap.TypeOf(matrix.Type), 2, matrix.Data, sizes, &stride, box, steps, 0, TensorMap.Swizzle128, TensorMap.Promotion256, 0));
            return _maps[key] = *aligned;
        }
        finally
        {
            NativeMemory.AlignedFree(aligned);
        }
    }

    // Padded to the device's alignment of 64 bytes.
    [StructLayout(LayoutKind.Sequential, Size = 320)]
    private struct SkinnyArguments
    {
        public TensorMap WeightMap, InputMap;
        public nint Output, Bias;
        public int Rows, Outputs, Columns, Splits;
    }
}
