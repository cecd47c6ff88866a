using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of experts with up to about 128 visits each, on Hopper: experts_skinny.cu.</summary>
internal sealed class SkinnyExperts(CudaDevice device, KernelLibrary kernels)
{
    private const int BlockColumns = 64;
    private const int Tile = 128;
    private const int MostStages = 8;

    private const int CtasAMultiprocessor = 2;
    private const int RingBytes = 100 << 10;
    private const int Alignment = 1024;

    private readonly TensorMaps _maps = new(device, TensorMap.Promotion128);

    /// <summary>Whether the kernel serves these experts.</summary>
    public bool Serves(ExpertWeights weights) => kernels.UsesHopperInstructions && Serves(weights.GateUp) && Serves(weights.Down) && weights.GateUp.Type == weights.Down.Type;

    /// <summary>output = activation(g) ⊙ u, where [g | u] = input · weightᵀ; without an activation input · weightᵀ. The input is in order of expert.</summary>
    public void Run(Tensor output, Tensor input, Tensor weight, int experts, ExpertRoutes routes, int visitsEach, Activation? activation)
    {
        bool gated = activation is not null;
        int rows = RowTile(visitsEach), stageBytes = (Tile + rows) * 2 * BlockColumns, stages = Math.Clamp(RingBytes / stageBytes, 2, MostStages);
        int outputs = gated ? Tile / 2 : Tile, tiles = (output.Columns + outputs - 1) / outputs;
        KernelConstants constants = ExpertLaunch.Constants(output, weight, activation) with { Shape = (rows, stages, 0, 0) };
        MappedExpertArguments arguments = new(_maps.Get(weight, outputs), _maps.Get(input, rows), output, weight, experts, routes);
        int units = Math.Min(routes.Visits, experts + (routes.Visits / rows));
        int sharedBytes = (stages * stageBytes) + ((experts + 1) * sizeof(int)) + Alignment;
        kernels.Get("experts_skinny", "experts_skinny", constants).Launch(arguments, (Math.Min(tiles * units, CtasAMultiprocessor * device.Multiprocessors), 1, 1), threads: 160, sharedBytes);
    }

    private static bool Serves(Tensor weight) => weight.Type != DType.F32 && weight.Columns % 8 == 0 && weight.Columns >= 2 * BlockColumns;

    // Visits of a tile: such that few experts have more.
    private static int RowTile(int visitsEach) => visitsEach <= 3 ? 8 : visitsEach <= 8 ? 16 : visitsEach <= 20 ? 32 : visitsEach <= 46 ? 64 : 128;
}
