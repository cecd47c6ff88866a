using System.Numerics;
using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of 5 to 128 rows on Hopper: skinny.cu.</summary>
internal sealed class SkinnyProducts(CudaDevice device, KernelLibrary kernels, int maxRows)
{
    private const int QuadOutputs = 4;
    private const int WarpThreads = 32;

    private readonly TensorMaps _maps = new(device, TensorMap.Promotion128);

    /// <summary>Whether the kernel serves this product; the input has the weights' type.</summary>
    public bool Serves(int rows, Tensor weight) =>
        kernels.UsesHopperInstructions && rows <= maxRows && weight.Type != DType.F32 && weight.Columns % 8 == 0 && weight.Columns >= 2 * TensorMaps.BoxColumns && weight.Rows % 8 == 0;

    /// <summary>
    /// output = activation(input · weightᵀ + bias), gated or added to the output. Of an input's <paramref name="half"/> norm the kernel computes the rest; of the norm that
    /// follows it computes the first half, if <paramref name="norms"/> knows one. A <paramref name="second"/> product may be beside it or joined.
    /// </summary>
    public void Run(Tensor output, Tensor input, HalfNorm? half, DividedNorms? norms, LinearWeights weights, Activation activation, bool gated, bool accumulate, SecondProduct second = default)
    {
        int rows = RowTile(input.Rows);
        SkinnyTile tile = SkinnyTile.For(second.SizeWith(output, weights, gated), second.MoreOutputs, rows, device.Multiprocessors, device.SharedBytesPerBlock);
        int outputs = gated ? tile.Rows / 2 : tile.Rows, tiles = (output.Columns + outputs - 1) / outputs, moreTiles = (second.MoreOutputs + outputs - 1) / outputs;
        KernelConstants constants = new()
        {
            Weight = weights.Weight.Type,
            Out = output.Type,
            Activation = activation,
            Gated = gated,
            Accumulate = accumulate,
            Second = second.Kind,
            Rows = tile.Groups,
            Columns = tile.Splits,
            Shape = (tile.Rows, rows, tile.Blocks, tile.Stages),
        };
        if (!accumulate || output.Type != DType.F32 || !CanLeave(outputs)) norms = null;
        HalfNorm? left = norms?.Place(output, weights.Weight, tiles, rows);
        SkinnyArguments arguments = new()
        {
            WeightMap = _maps.Get(weights.Weight, outputs),
            InputMap = _maps.Get(input, rows),
            Output = output.Data,
            Bias = weights.Bias?.Data ?? 0,
            Squares = half?.Squares ?? 0,
            NextGamma = left?.Norm.Gamma.Data ?? 0,
            NextInput = left?.Scaled.Data ?? 0,
            NextSquares = left?.Squares ?? 0,
            Rows = input.Rows,
            Outputs = output.Columns,
            Columns = weights.Inputs + second.MoreColumns,
            Parts = half?.Parts ?? 0,
            Epsilon = half?.Norm.Epsilon ?? 0,
        };
        CudaKernel kernel = kernels.Get("skinny", "skinny", constants);
        (int, int, int) grid = ((tiles + moreTiles) * tile.Splits, 1, 1);
        int threads = (128 * tile.Groups) + (half is null ? 32 : 64);
        if (second.Weights is null)
        {
            kernel.Launch(arguments, grid, threads, tile.SharedBytes(rows), cluster: tile.Splits);
        }
        else
        {
            PairArguments pair = new()
            {
                First = arguments,
                WeightMap = _maps.Get(second.Weights.Weight, outputs),
                InputMap = second.Kind == SecondKind.Joined ? _maps.Get(second.Rows, rows) : default,
                Output = second.Kind == SecondKind.Beside ? second.Rows.Data : 0,
                Bias = second.Weights.Bias?.Data ?? 0,
                Outputs = second.MoreOutputs,
                FirstTiles = tiles,
                FirstColumns = weights.Inputs,
            };
            kernel.Launch(pair, grid, threads, tile.SharedBytes(rows), cluster: tile.Splits);
        }
        norms?.Launched(output, weights.Weight, left);
    }

    // Lanes of a warp add up the squares of a tile's row.
    private static bool CanLeave(int outputs) => outputs / QuadOutputs <= WarpThreads && BitOperations.IsPow2(outputs / QuadOutputs);

    private static int RowTile(int rows) => rows <= 8 ? 8 : rows <= 16 ? 16 : rows <= 32 ? 32 : rows <= 64 ? 64 : 128;

    // Padded to the device's alignment of 64 bytes.
    [StructLayout(LayoutKind.Sequential, Size = 384)]
    private struct SkinnyArguments
    {
        public TensorMap WeightMap, InputMap;
        public nint Output, Bias, Squares, NextGamma, NextInput, NextSquares;
        public int Rows, Outputs, Columns, Parts;
        public float Epsilon;
    }

    [StructLayout(LayoutKind.Sequential, Size = 704)]
    private struct PairArguments
    {
        public SkinnyArguments First;
        public TensorMap WeightMap, InputMap;
        public nint Output, Bias;
        public int Outputs, FirstTiles, FirstColumns;
    }
}
