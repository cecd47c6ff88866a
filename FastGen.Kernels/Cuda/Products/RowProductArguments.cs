using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>What gemv.cu and few_rows.cu take: row_product.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct RowProductArguments(Tensor output, in LinearInput input, LinearWeights weights, SecondProduct second, float epsilon)
{
    public readonly nint Input = input.Rows.Data;
    public readonly nint Weights = weights.Weight.Data;
    public readonly nint Output = output.Data;
    public readonly nint Gamma = input.Norm?.Gamma.Data ?? 0;
    public readonly nint Beta = input.Norm?.Beta?.Data ?? 0;
    public readonly nint Bias = weights.Bias?.Data ?? 0;
    public readonly float Epsilon = epsilon;
    public readonly int Outputs = output.Columns;
    public readonly int Rows = input.Rows.Rows;
    public readonly int SecondOutputs = second.MoreOutputs;
    public readonly int FirstColumns = weights.Inputs;
    public readonly nint SecondInput = second.Kind == SecondKind.Joined ? second.Rows.Data : 0;
    public readonly nint SecondWeights = second.Weights?.Weight.Data ?? 0;
    public readonly nint SecondBias = second.Weights?.Bias?.Data ?? 0;
    public readonly nint SecondOutput = second.Kind == SecondKind.Beside ? second.Rows.Data : 0;

    /// <summary>What both are compiled for; the shape of the tile is for each to add.</summary>
    public static KernelConstants Constants(Tensor output, in LinearInput input, LinearWeights weights, Activation activation, bool gated, bool accumulate, SecondProduct second) => new()
    {
        In = input.Rows.Type,
        Weight = weights.Weight.Type,
        Out = output.Type,
        Norm = input.Norm switch { null => 0, { Kind: NormKind.Rms } => 1, _ => 2 },
        Activation = activation,
        Gated = gated,
        Accumulate = accumulate,
        Second = second.Kind,
        Columns = weights.Inputs + second.MoreColumns,
    };
}
