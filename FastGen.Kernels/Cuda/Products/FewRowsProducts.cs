using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of 2 to 8 rows on Hopper, where that is faster than skinny.cu: few_rows.cu.</summary>
internal sealed class FewRowsProducts(CudaDevice device, KernelLibrary kernels, int maxRows)
{
    private const int MostColumns = 4096;

    // Up to so many columns the norm costs less in the kernel than before it: its input and its factors fit the registers beside each other.
    private const int MostNormedColumns = 2048;

    // A product as high as it is wide is faster by skinny.cu, whose clusters share the columns, unless it is small.
    private const int SmallColumns = 3072;

    /// <summary>Whether the kernel serves and suits this product.</summary>
    public bool Suits(int rows, Tensor weight) =>
        kernels.UsesHopperInstructions && rows > 1 && rows <= Math.Min(maxRows, FewRowsTile.InputRows) && weight.Type != DType.F32 && weight.Columns % FewRowsTile.ChunkColumns == 0
            && weight.Columns <= (weight.Rows > weight.Columns ? MostColumns : SmallColumns);

    /// <summary>Whether the norm before the product is computed in its kernel.</summary>
    public static bool FusesNorm(in LinearInput input) => input is { Rows: { Type: DType.F32, Columns: <= MostNormedColumns }, Norm: { Kind: NormKind.Rms, Beta: null } };

    /// <summary>output = activation(norm(input) · weightᵀ + bias), gated or added to the output. Of an input's <paramref name="half"/> norm the kernel computes the rest. A <paramref name="second"/> product may be beside it.</summary>
    public void Run(Tensor output, in LinearInput input, HalfNorm? half, LinearWeights weights, Activation activation, bool gated, bool accumulate, SecondProduct second = default)
    {
        FewRowsTile tile = FewRowsTile.For(second.SizeWith(output, weights, gated), device.Multiprocessors);
        KernelConstants constants = RowProductArguments.Constants(output, input, weights, activation, gated, accumulate, second) with { Shape = (FewRowsTile.Warps, tile.Piece, tile.Stages, 0) };
        FewRowsArguments arguments = new() { Product = new RowProductArguments(output, input, weights, second, (half?.Norm ?? input.Norm)?.Epsilon ?? 0), Squares = half?.Squares ?? 0, Parts = half?.Parts ?? 0 };
        kernels.Get("few_rows", "few_rows", constants)
            .Launch(arguments, (tile.Ctas, 1, 1), (FewRowsTile.Warps + 1) * 32, tile.SharedBytes);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct FewRowsArguments
    {
        public RowProductArguments Product;
        public nint Squares;
        public int Parts;
    }
}
