using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of 5 to 16 rows with 16-bit weights: gemv_mma.cu.</summary>
internal sealed class GemvMmaProducts(CudaDevice device, KernelLibrary kernels)
{
    private const int RowTile = 8;
    private const int MaxRows = 16;
    private const int BlockColumns = 32;
    private const int MaxWarps = 16;
    private const int HeldBlocks = 16;
    private const int BlocksWanted = 8;

    /// <summary>Whether the kernel serves this product; the input has the weights' type.</summary>
    public bool Serves(int rows, Tensor weight) => rows <= MaxRows && weight.Type != DType.F32 && weight.Columns % 8 == 0 && SplitOf(weight.Columns, rows).Warps > 0;

    /// <summary>output = activation(input · weightᵀ + bias), gated or added to the output.</summary>
    public void Run(Tensor output, Tensor input, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        (int warps, int blocks, int splits) = SplitOf(weights.Inputs, input.Rows);
        int rowTiles = (input.Rows + RowTile - 1) / RowTile, resident = device.Multiprocessors * (MaxWarps / warps) / splits;
        // Tiles of 8 weight rows where tiles of 16 would leave half of the device idle.
        bool small = !gated && (output.Columns + 15) / 16 <= resident / 2;
        int outputs = gated || small ? 8 : 16, tiles = (output.Columns + outputs - 1) / outputs, grid = Math.Min(tiles, resident);
        KernelConstants constants = new()
        {
            Weight = weights.Weight.Type,
            Out = output.Type,
            Activation = activation,
            Gated = gated,
            Accumulate = accumulate,
            Columns = weights.Inputs,
            Shape = (warps, blocks, rowTiles, small ? 1 : 0),
        };
        GemvMmaArguments arguments = new()
        {
            Input = input.Data,
            Weights = weights.Weight.Data,
            Output = output.Data,
            Bias = weights.Bias?.Data ?? 0,
            Outputs = output.Columns,
            Rows = input.Rows,
            Splits = splits,
        };
        int sharedBytes = splits == 1 ? 0 : ((tiles + grid - 1) / grid) * rowTiles * 128 * sizeof(float);
        kernels.Get("gemv_mma", "gemv_mma", constants).Launch(arguments, (grid * splits, 1, 1), warps * 32, sharedBytes, cluster: splits);
    }

    // Few warps for short rows, so that more CTAs fit; two CTAs for long ones (Hopper only, since they meet in a cluster).
    private (int Warps, int Blocks, int Splits) SplitOf(int columns, int rows)
    {
        int all = (columns + BlockColumns - 1) / BlockColumns, rowTiles = (rows + RowTile - 1) / RowTile;
        for (int warps = 4; warps <= MaxWarps; warps *= 2)
        {
            int blocks = (all + warps - 1) / warps;
            if (blocks <= BlocksWanted) return (warps, blocks, 1);
        }
        int long1 = (all + MaxWarps - 1) / MaxWarps, long2 = (all + (2 * MaxWarps) - 1) / (2 * MaxWarps);
        if (long1 * rowTiles <= HeldBlocks) return (MaxWarps, long1, 1);
        return kernels.UsesHopperInstructions && long2 * rowTiles <= HeldBlocks ? (MaxWarps, long2, 2) : default;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct GemvMmaArguments
    {
        public nint Input, Weights, Output, Bias;
        public int Outputs, Rows, Splits;
    }
}
