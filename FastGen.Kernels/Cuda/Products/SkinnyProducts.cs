using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of 5 to 128 rows on Hopper: skinny.cu.</summary>
internal sealed unsafe class SkinnyProducts(CudaDevice device, KernelLibrary kernels, int maxRows)
{
    /// <summary>The most rows of a product.</summary>
    public const int MostRows = 128;

    private const int BlockColumns = 64;

    private readonly Dictionary<(nint Data, int Rows, int Columns, int Box), TensorMap> _maps = [];

    /// <summary>The tiles that products take instead of their own, for measurements; null, from it or for it, for none.</summary>
    public Func<ProductSize, SkinnyTile?>? Forced { get; set; }

    /// <summary>Whether the kernel serves this product; the input has the weights' type.</summary>
    public bool Serves(int rows, Tensor weight) =>
        kernels.UsesHopperInstructions && rows <= maxRows && weight.Type != DType.F32 && weight.Columns % 8 == 0 && weight.Columns >= 2 * BlockColumns && weight.Rows % 8 == 0;

    /// <summary>Whether the kernel, adding to the residual stream, can prepare the rows of the norm that follows.</summary>
    public bool Prepares(Tensor output, int rows, LinearWeights weights) =>
        output.Type == DType.F32 && weights.Weight.Type == DType.BF16 && TileOf(new ProductSize(output.Columns, weights.Inputs, Gated: false), rows).Rows <= MostRows;

    /// <summary>Tiles of outputs, each with its own squares in <see cref="NormedRows"/>.</summary>
    public int TilesOf(Tensor output, int rows, LinearWeights weights)
    {
        int height = TileOf(new ProductSize(output.Columns, weights.Inputs, Gated: false), rows).Rows;
        return (output.Columns + height - 1) / height;
    }

    /// <summary>
    /// output = activation(input · weightᵀ + bias), gated or added to the output. <paramref name="factors"/>: the input is rows whose factors are
    /// still to be applied; <paramref name="next"/>: the output's rows are also prepared for the norm that follows.
    /// </summary>
    public void Run(Tensor output, Tensor input, LinearWeights weights, Activation activation, bool gated, bool accumulate, NormedRows? factors = null, NormedRows? next = null)
    {
        int rows = RowTile(input.Rows);
        SkinnyTile tile = TileOf(new ProductSize(output.Columns, weights.Inputs, gated), input.Rows);
        int outputs = gated ? tile.Rows / 2 : tile.Rows, tiles = (output.Columns + outputs - 1) / outputs;
        KernelConstants constants = new()
        {
            Weight = weights.Weight.Type,
            Out = output.Type,
            Activation = activation,
            Gated = gated,
            Accumulate = accumulate,
            Norm = factors is null ? 0 : 1,
            Fused = next is not null,
            Rows = tile.Groups,
            Columns = tile.Splits,
            Shape = (tile.Rows, rows, tile.Blocks, tile.Stages),
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
            FactorTiles = factors?.Tiles ?? 0,
            RowSquares = factors?.Squares ?? 0,
            Epsilon = factors?.Epsilon ?? 0,
            NextGamma = next?.Gamma ?? 0,
            NextRows = next?.Rows.Data ?? 0,
            NextSquares = next?.Squares ?? 0,
        };
        kernels.Get("skinny", "skinny", constants).Launch(arguments, (tiles * tile.Splits, 1, 1), threads: (128 * tile.Groups) + (factors is null ? 32 : 64), tile.SharedBytes(rows), cluster: tile.Splits);
    }

    private SkinnyTile TileOf(ProductSize size, int rows) => Forced?.Invoke(size) ?? SkinnyTile.For(size, RowTile(rows), device.Multiprocessors);

    private static int RowTile(int rows) => rows <= 8 ? 8 : rows <= 16 ? 16 : rows <= 32 ? 32 : rows <= 64 ? 64 : 128;

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
    [StructLayout(LayoutKind.Sequential, Size = 384)]
    private struct SkinnyArguments
    {
        public TensorMap WeightMap, InputMap;
        public nint Output, Bias;
        public int Rows, Outputs, Columns, FactorTiles;
        public nint RowSquares;
        public float Epsilon;
        public nint NextGamma, NextRows, NextSquares;
    }
}

/// <summary>
/// Rows of the residual stream on their way through an RMS norm: times its weight, in 16 bits, with their squares summed over tiles of columns, from
/// which the factors of the rows follow.
/// </summary>
internal readonly record struct NormedRows(Tensor Rows, nint Gamma, float Epsilon, nint Squares, int Tiles);
