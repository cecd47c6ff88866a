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

    private readonly TensorMaps _maps = new(device, TensorMap.Promotion256);

    /// <summary>Whether the kernel serves these experts.</summary>
    public bool Serves(ExpertWeights weights) =>
        kernels.UsesHopperInstructions && weights.GateUp.Type != DType.F32 && weights.Down.Type == weights.GateUp.Type && weights.GateUp.Columns % 8 == 0 && weights.Down.Columns % 8 == 0;

    /// <summary>output = activation(g) ⊙ u, where [g | u] = input · weightᵀ; without an activation input · weightᵀ. The input is in order of expert.</summary>
    public void Run(Tensor output, Tensor input, Tensor weight, int experts, ExpertRoutes routes, Activation? activation)
    {
        bool gated = activation is not null;
        int outputs = gated ? TileWeights / 2 : TileWeights;
        KernelConstants constants = ExpertLaunch.Constants(output, weight, activation) with { Shape = (TileWeights, Stages, 0, 0) };
        MappedExpertArguments arguments = new(_maps.Get(weight, outputs), _maps.Get(input, TileVisits), output, weight, experts, routes);
        long most = (long)Math.Min(routes.Visits, experts + (routes.Visits / TileVisits)) * ((output.Columns + outputs - 1) / outputs);
        int sharedBytes = (Stages * StageBytes) + ((experts + 1) * sizeof(int)) + Alignment;
        kernels.Get("experts_tiles", "experts_tiles", constants).Launch(arguments, ((int)Math.Min(most, device.Multiprocessors), 1, 1), threads: 288, sharedBytes);
    }
}
