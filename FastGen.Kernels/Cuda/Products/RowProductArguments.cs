using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>What gemv.cu and few_rows.cu take: row_product.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct RowProductArguments(Tensor output, in LinearInput input, LinearWeights weights)
{
    public readonly nint Input = input.Rows.Data;
    public readonly nint Weights = weights.Weight.Data;
    public readonly nint Output = output.Data;
    public readonly nint Gamma = input.Norm?.Gamma.Data ?? 0;
    public readonly nint Bias = weights.Bias?.Data ?? 0;
    public readonly float Epsilon = input.Norm?.Epsilon ?? 0;
    public readonly int Outputs = output.Columns;
    public readonly int Rows = input.Rows.Rows;

    /// <summary>What both are compiled for; the shape of the tile is for each to add.</summary>
    public static KernelConstants Constants(Tensor output, in LinearInput input, LinearWeights weights, Activation activation, bool gated, bool accumulate) => new()
    {
        In = input.Rows.Type,
        Weight = weights.Weight.Type,
        Out = output.Type,
        Norm = input.Norm is null ? 0 : 1,
        Activation = activation,
        Gated = gated,
        Accumulate = accumulate,
        Columns = weights.Inputs,
    };
}
