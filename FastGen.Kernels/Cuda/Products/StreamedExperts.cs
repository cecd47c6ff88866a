using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of experts on mma.sync, for devices without wgmma: experts_stream.cu.</summary>
internal sealed class StreamedExperts(CudaDevice device, KernelLibrary kernels)
{
    private const int BlockColumns = 32;
    private const int WarpsAMultiprocessor = 16;
    private const int SmallestOutputs = 16;
    private const int PartialBytes = 512;
    private const int MostParts = 16;
    private const int DepthWanted = 4;

    // Mean visits up to which few experts have more than one tile of eight.
    private const int FewVisits = 4;

    // Registers of a thread for input, weights in flight and sums; with the rest they make 128.
    private const int RegisterBudget = 104;

    private readonly Dictionary<(int Columns, int Tiles, bool Whole), (int Warps, int Parts, int Depth)> _shapes = [];

    /// <summary>Whether the kernel serves these experts.</summary>
    public bool Serves(ExpertWeights weights)
    {
        int model = weights.GateUp.Columns, hidden = weights.Down.Columns;
        return weights.GateUp.Type != DType.F32 && weights.Down.Type == weights.GateUp.Type && model % 8 == 0 && hidden % 8 == 0 && model >= SmallestOutputs && hidden >= SmallestOutputs
            && Fits(weights, tiles: 1);
    }

    /// <summary>Tiles of eight visits that pass at once, such that few experts have more visits, as far as they fit.</summary>
    public int Tiles(ExpertWeights weights, int visitsEach) => visitsEach > FewVisits && Fits(weights, tiles: 2) ? 2 : 1;

    /// <summary>Parts that a plain product's columns are cut in, whose sums are apart.</summary>
    public int Parts(int columns, int tiles) => ShapeOf(columns, tiles, whole: false).Parts;

    /// <summary>output = activation(g) ⊙ u, where [g | u] = input · weightᵀ; without an activation input · weightᵀ, in parts.</summary>
    public void Run(Tensor output, Tensor input, Tensor weight, int experts, ExpertRoutes routes, nint sources, int tiles, Activation? activation)
    {
        (int warps, int parts, int depth) = ShapeOf(weight.Columns, tiles, whole: activation is not null);
        KernelConstants constants = ExpertLaunch.Constants(output, weight, activation) with { Columns = weight.Columns, Shape = (warps, tiles, parts, depth) };
        StreamArguments arguments = new()
        {
            Input = input.Data,
            Weights = weight.Data,
            Output = output.Data,
            Starts = routes.Starts,
            Sources = sources,
            Part = (long)routes.Visits * output.Columns,
            Experts = experts,
            Outputs = output.Columns,
        };
        int ctas = WarpsAMultiprocessor / warps, sharedBytes = (2 * warps * tiles * PartialBytes) + ((experts + 1) * sizeof(int));
        kernels.Get("experts_stream", "experts_stream", constants).Launch(arguments, (device.Multiprocessors * ctas, 1, 1), warps * 32, sharedBytes);
    }

    private bool Fits(ExpertWeights weights, int tiles) => ShapeOf(weights.GateUp.Columns, tiles, whole: true).Warps > 0 && ShapeOf(weights.Down.Columns, tiles, whole: false).Warps > 0;

    // Enough in flight first, then warps that have equal shares, then few parts.
    private (int Warps, int Parts, int Depth) ShapeOf(int columns, int tiles, bool whole)
    {
        if (_shapes.TryGetValue((columns, tiles, whole), out (int Warps, int Parts, int Depth) shape)) return shape;
        int all = (columns + BlockColumns - 1) / BlockColumns, best = int.MaxValue;
        int warps = all >= 4 * 16 ? 16 : all >= 2 * 8 ? 8 : all >= 4 ? 4 : 2;
        for (int parts = 1; parts <= (whole ? 1 : MostParts); parts++)
        {
            int blocks = (((all + parts - 1) / parts) + warps - 1) / warps;
            for (int depth = blocks; depth >= 1; depth--)
            {
                bool divides = depth == blocks || (depth % 2 == 0 && blocks % depth == 0);
                if (!divides || (tiles * blocks * 4) + (depth * 8) + (tiles * 4) > RegisterBudget) continue;
                int cost = (16 * Math.Max(0, DepthWanted - depth)) + (((warps * blocks * parts) - all) * 100 / all) + parts;
                if (cost < best) (best, shape) = (cost, (warps, parts, depth));
                break;
            }
        }
        return _shapes[(columns, tiles, whole)] = shape;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct StreamArguments
    {
        public nint Input, Weights, Output, Starts, Sources;
        public long Part;
        public int Experts, Outputs;
    }
}
