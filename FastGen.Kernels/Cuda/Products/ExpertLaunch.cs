using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>What the kernels of products grouped by expert have in common.</summary>
internal static class ExpertLaunch
{
    /// <summary>Types, and what follows the product: without an activation nothing, else the gated product of its halves.</summary>
    public static KernelConstants Constants(Tensor output, Tensor weight, Activation? activation) =>
        new() { Weight = weight.Type, Out = output.Type, Gated = activation is not null, Activation = activation ?? Activation.None };
}

/// <summary>What experts_skinny.cu and experts_tiles.cu take. Padded to the device's alignment of 64 bytes.</summary>
[StructLayout(LayoutKind.Sequential, Size = 320)]
internal readonly struct MappedExpertArguments(TensorMap weightMap, TensorMap inputMap, Tensor output, Tensor weight, int experts, ExpertRoutes routes)
{
    private readonly TensorMap _weightMap = weightMap, _inputMap = inputMap;
    private readonly nint _output = output.Data, _starts = routes.Starts;
    private readonly int _experts = experts, _outputs = output.Columns, _columns = weight.Columns;
}
