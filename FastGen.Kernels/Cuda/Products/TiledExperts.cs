using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of experts with many visits each, on Hopper: experts_tiles.cu.</summary>
internal sealed class TiledExperts(CudaDevice device, KernelLibrary kernels)
{
    private const int TileVisits = 128;
    private const int TileWeights = 256;
    private const int Stages = 4;
    private const int StageBytes = (TileVisits + TileWeights) * 128;
    private const int Alignment = 1024;

    private readonly TensorMaps _maps = new(device);

    /// <summary>Whether the kernel serves these experts.</summary>
    public bool Serves(ExpertWeights weights) =>
        kernels.UsesHopperInstructions && weights.GateUp.Type != DType.F32 && weights.Down.Type == weights.GateUp.Type && weights.GateUp.Columns % 8 == 0 && weights.Down.Columns % 8 == 0;

    /// <summary>output = activation(g) ⊙ u, where [g | u] = input · weightᵀ; without an activation input · weightᵀ. The input is in order of expert.</summary>
    public void Run(Tensor output, Tensor input, Tensor weight, int experts, ExpertRoutes routes, Activation? activation)
    {
        bool gated = activation is not null;
        int outputs = gated ? TileWeights / 2 : TileWeights;
        KernelConstants constants = new()
        {
            Weight = weight.Type,
            Out = output.Type,
            Activation = activation ?? Activation.None,
            Gated = gated,
            Shape = (TileWeights, Stages, 0, 0),
        };
        TilesArguments arguments = new()
        {
            WeightMap = _maps.Get(weight, outputs),
            InputMap = _maps.Get(input, TileVisits),
            Output = output.Data,
            Starts = routes.Starts,
            Experts = experts,
            Outputs = output.Columns,
            Columns = weight.Columns,
        };
        long most = (long)Math.Min(routes.Visits, experts + (routes.Visits / TileVisits)) * ((output.Columns + outputs - 1) / outputs);
        int sharedBytes = (Stages * StageBytes) + ((experts + 1) * sizeof(int)) + Alignment;
        kernels.Get("experts_tiles", "experts_tiles", constants).Launch(arguments, ((int)Math.Min(most, device.Multiprocessors), 1, 1), threads: 288, sharedBytes);
    }

    // Padded to the device's alignment of 64 bytes.
    [StructLayout(LayoutKind.Sequential, Size = 320)]
    private struct TilesArguments
    {
        public TensorMap WeightMap, InputMap;
        public nint Output, Starts;
        public int Experts, Outputs, Columns;
    }
}
