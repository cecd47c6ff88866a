using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of 2 to 32 rows on Hopper: few_rows.cu.</summary>
internal sealed class FewRowsProducts(CudaDevice device, KernelLibrary kernels, int maxRows)
{
    // More columns of F32, and their factors, do not fit the registers beside each other.
    private const int MostNormedColumns = 2048;
    private const int MostNormedRows = 8;

    private readonly Dictionary<(ProductSize, int Rows), FewRowsTile?> _tiles = [];

    /// <summary>Whether the kernel serves this product.</summary>
    public bool Serves(int rows, Tensor weight, bool gated) =>
        kernels.UsesHopperInstructions && rows > 1 && rows <= maxRows && weight.Type != DType.F32 && TileOf(new ProductSize(gated ? weight.Rows / 2 : weight.Rows, weight.Columns, gated), rows) is not null;

    /// <summary>Whether the norm before the product is computed in its kernel.</summary>
    public static bool FusesNorm(in LinearInput input) =>
        input is { Rows: { Type: DType.F32, Columns: <= MostNormedColumns, Rows: <= MostNormedRows }, Norm: { Kind: NormKind.Rms, Beta: null } };

    /// <summary>output = activation(norm(input) · weightᵀ + bias), gated or added to the output.</summary>
    public void Run(Tensor output, in LinearInput input, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        FewRowsTile tile = TileOf(new ProductSize(output.Columns, weights.Inputs, gated), input.Rows.Rows)!.Value;
        KernelConstants constants = new()
        {
            In = input.Rows.Type,
            Weight = weights.Weight.Type,
            Out = output.Type,
            Norm = input.Norm is null ? 0 : 1,
            Activation = activation,
            Gated = gated,
            Accumulate = accumulate,
            Columns = weights.Inputs,
            Rows = tile.Splits,
            Shape = (FewRowsTile.Warps, tile.InputRows, tile.Piece, tile.Stages),
        };
        FewRowsArguments arguments = new()
        {
            Input = input.Rows.Data,
            Weights = weights.Weight.Data,
            Output = output.Data,
            Gamma = input.Norm?.Gamma.Data ?? 0,
            Bias = weights.Bias?.Data ?? 0,
            Epsilon = input.Norm?.Epsilon ?? 0,
            Outputs = output.Columns,
            Rows = input.Rows.Rows,
        };
        kernels.Get("few_rows", "few_rows", constants).Launch(arguments, (tile.Groups * tile.Splits, 1, 1), (FewRowsTile.Warps + 1) * 32, tile.SharedBytes, tile.Splits);
    }

    private FewRowsTile? TileOf(ProductSize size, int rows)
    {
        if (_tiles.TryGetValue((size, rows), out FewRowsTile? tile)) return tile;
        return _tiles[(size, rows)] = FewRowsTile.For(size, rows, device.Multiprocessors, device.SharedBytesPerBlock);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct FewRowsArguments
    {
        public nint Input, Weights, Output, Gamma, Bias;
        public float Epsilon;
        public int Outputs, Rows;
    }
}
