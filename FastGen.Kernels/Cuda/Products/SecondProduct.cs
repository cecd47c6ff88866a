using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>A product in the same kernel as another, which by itself would leave the device idle at its ends.</summary>
/// <param name="Kind">How they share it.</param>
/// <param name="Rows">Its output, of the weights' type; joined, its input.</param>
/// <param name="Weights">Its weights, of the first's type.</param>
internal readonly record struct SecondProduct(SecondKind Kind, Tensor Rows, LinearWeights? Weights)
{
    /// <summary>Outputs beside those of the first.</summary>
    public int MoreOutputs => Kind == SecondKind.Beside ? Rows.Columns : 0;

    /// <summary>Columns beyond those of the first.</summary>
    public int MoreColumns => Kind == SecondKind.Joined ? Rows.Columns : 0;

    /// <summary>Both as one product.</summary>
    public ProductSize SizeWith(Tensor output, LinearWeights weights, bool gated) => new(output.Columns + MoreOutputs, weights.Inputs + MoreColumns, gated);
}
