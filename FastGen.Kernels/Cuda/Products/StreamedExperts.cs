using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of experts with few visits each: experts_stream.cu.</summary>
internal sealed class StreamedExperts(CudaDevice device, KernelLibrary kernels)
{
    private const int BlockColumns = 32;
    private const int WarpsAMultiprocessor = 16;
    private const int SmallestOutputs = 16;
    private const int BlockBytes = 512;
    private const int MostParts = 16;

    // More tiles than these are kept in shared memory, by half as many warps with twice the registers.
    private const int HeldTiles = 2;

    // Registers of a thread for input, weights in flight and sums; with the rest they make 128, or 255.
    private const int RegisterBudget = 104, LargeRegisterBudget = 216;

    // Mean visits up to which few experts have more than one to four tiles of eight.
    private static readonly int[] MeanVisits = [4, 10, 15, 22];

    private readonly Dictionary<(int Columns, int Tiles, bool Whole), (int Warps, int Parts, int Depth)> _shapes = [];

    /// <summary>Whether the kernel serves these experts.</summary>
    public bool Serves(ExpertWeights weights)
    {
        int model = weights.GateUp.Columns, hidden = weights.Down.Columns;
        return weights.GateUp.Type != DType.F32 && weights.Down.Type == weights.GateUp.Type && model % 8 == 0 && hidden % 8 == 0 && model >= SmallestOutputs && hidden >= SmallestOutputs
            && Fits(weights, tiles: 1);
    }

    /// <summary>Tiles of eight visits that pass at once, such that few experts have more visits, as far as they fit.</summary>
    public int Tiles(ExpertWeights weights, int visitsEach)
    {
        int tiles = 1;
        while (tiles < MeanVisits.Length && visitsEach > MeanVisits[tiles - 1] && Fits(weights, tiles + 1)) tiles++;
        return tiles;
    }

    /// <summary>Parts that a plain product's columns are cut in, whose sums are apart.</summary>
    public int Parts(int columns, int tiles) => ShapeOf(columns, tiles, whole: false).Parts;

    /// <summary>output = activation(g) ⊙ u, where [g | u] = input · weightᵀ; without an activation input · weightᵀ, in parts.</summary>
    public void Run(Tensor output, Tensor input, Tensor weight, int experts, ExpertRoutes routes, nint sources, int tiles, Activation? activation)
    {
        (int warps, int parts, int depth) = ShapeOf(weight.Columns, tiles, whole: activation is not null);
        KernelConstants constants = new()
        {
            Weight = weight.Type,
            Out = output.Type,
            Gated = activation is not null,
            Activation = activation ?? Activation.None,
            Columns = weight.Columns,
            Shape = (warps, tiles, parts, depth),
        };
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
        int ctas = tiles > HeldTiles ? 1 : WarpsAMultiprocessor / warps;
        kernels.Get("experts_stream", "experts_stream", constants).Launch(arguments, (device.Multiprocessors * ctas, 1, 1), warps * 32, SharedBytes(weight.Columns, warps, tiles, parts) + ((experts + 1) * sizeof(int)));
    }

    private bool Fits(ExpertWeights weights, int tiles) => ShapeOf(weights.GateUp.Columns, tiles, whole: true).Warps > 0 && ShapeOf(weights.Down.Columns, tiles, whole: false).Warps > 0;

    // Enough in flight first, then warps that have equal shares, then few parts.
    private (int Warps, int Parts, int Depth) ShapeOf(int columns, int tiles, bool whole)
    {
        if (_shapes.TryGetValue((columns, tiles, whole), out (int Warps, int Parts, int Depth) shape)) return shape;
        int all = (columns + BlockColumns - 1) / BlockColumns, best = int.MaxValue;
        bool large = tiles > HeldTiles;
        int warps = large ? (all >= 4 * 8 ? 8 : 0) : all >= 4 * 16 ? 16 : all >= 2 * 8 ? 8 : all >= 4 ? 4 : 2, wanted = large ? 8 : 4;
        for (int parts = 1; warps > 0 && parts <= (whole ? 1 : MostParts); parts++)
        {
            int blocks = Blocks(columns, warps, parts);
            for (int depth = blocks; depth >= 1; depth--)
            {
                int registers = (Math.Min(tiles, HeldTiles) * blocks * 4) + (depth * 8) + (tiles * 4);
                bool divides = depth == blocks || (depth % 2 == 0 && blocks % depth == 0);
                if (!divides || registers > (large ? LargeRegisterBudget : RegisterBudget) || SharedBytes(columns, warps, tiles, parts) > device.SharedBytesPerBlock - (4 << 10)) continue;
                int cost = (16 * Math.Max(0, wanted - depth)) + (((warps * blocks * parts) - all) * 100 / all) + parts;
                if (cost < best) (best, shape) = (cost, (warps, parts, depth));
                break;
            }
        }
        return _shapes[(columns, tiles, whole)] = shape;
    }

    // Of 32 columns, a warp.
    private static int Blocks(int columns, int warps, int parts) => ((((columns + BlockColumns - 1) / BlockColumns) + parts - 1) / parts + warps - 1) / warps;

    private static int SharedBytes(int columns, int warps, int tiles, int parts) =>
        warps * BlockBytes * ((2 * tiles) + (Math.Max(tiles - HeldTiles, 0) * Blocks(columns, warps, parts)));

    [StructLayout(LayoutKind.Sequential)]
    private struct StreamArguments
    {
        public nint Input, Weights, Output, Starts, Sources;
        public long Part;
        public int Experts, Outputs;
    }
}
