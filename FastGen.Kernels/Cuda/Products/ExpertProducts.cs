using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>
/// A sparse mixture of experts. A visit is one row at one expert; the device sorts visits by expert, so that the host need not know who went
/// where, and every visit is computed. A row's result does not depend on its place in the batch.
/// </summary>
internal sealed class ExpertProducts(CudaDevice device, KernelLibrary kernels, CudaScratch scratch, LinearProducts products, ExpertKernel? only)
{
    private const int RouteThreads = 512;
    private const int RouteWarps = RouteThreads / 32;
    private const int RouteOwnBytes = 256;
    private const int RowsThatShareRouter = 4;

    // Mean visits of an expert up to which these serve best.
    private const int SkinnyVisits = 46;
    private const int StreamedVisits = 22;

    private readonly GemvExperts _gemv = new(device, kernels);
    private readonly StreamedExperts _streamed = new(device, kernels);
    private readonly SkinnyExperts _skinny = new(device, kernels);
    private readonly TiledExperts _tiled = new(device, kernels);

    /// <summary>output += Σ over the chosen experts of probability · expert(norm(input)).</summary>
    /// <param name="output">[rows, model]</param>
    /// <param name="input">[rows, model]</param>
    /// <param name="weights">Router and experts.</param>
    /// <param name="rowCount">Address of how many rows are no padding; 0 if all are.</param>
    public void Run(Tensor output, in LinearInput input, ExpertWeights weights, nint rowCount)
    {
        int rows = output.Rows;
        if (rows == 0) return;
        int hidden = weights.Down.Columns, model = weights.Down.Rows / weights.Experts, visits = rows * weights.TopK;
        Tensor normed = input.Norm is null && input.Rows.Type == weights.GateUp.Type ? input.Rows : scratch.Matrix(ScratchUse.Normed, weights.GateUp.Type, rows, model);
        ExpertRoutes routes = Route(normed, input, weights, rowCount);
        Tensor gated = scratch.Matrix(ScratchUse.ExpertGated, weights.Down.Type, visits, hidden);
        // Fixed where the number of rows may change no bits.
        int each = products.IsDeterministic ? int.MaxValue : visits / Math.Min(weights.Experts, visits);
        int parts = KernelFor(weights, products.IsDeterministic ? int.MaxValue : rows, each) switch
        {
            ExpertKernel.Gemv => Gemv(gated, normed, weights, routes),
            ExpertKernel.Skinny => Skinny(gated, normed, weights, routes, each),
            ExpertKernel.Tiles => Tiled(gated, normed, weights, routes),
            ExpertKernel.Stream => Streamed(gated, normed, weights, routes, each),
            _ => Plain(gated, normed, weights, routes),
        };
        Tensor results = Results(visits, model, parts);
        CombineArguments combine = new() { Results = results.Data, Probabilities = routes.Probabilities, Places = routes.Places, Output = output.Data, Part = (long)visits * model, Columns = model, Top = weights.TopK, Parts = parts };
        kernels.Get("experts", "combine", new KernelConstants { Out = output.Type }).Launch(combine, (rows, (model + 1023) / 1024, 1), threads: 256);
    }

    private ExpertKernel KernelFor(ExpertWeights weights, int rows, int visitsEach)
    {
        if (only is { } wanted && Serves(wanted, weights)) return wanted;
        return rows == 1 && GemvExperts.Serves(weights) ? ExpertKernel.Gemv
            : visitsEach <= SkinnyVisits && _skinny.Serves(weights) ? ExpertKernel.Skinny
            : visitsEach > StreamedVisits && _tiled.Serves(weights) ? ExpertKernel.Tiles
            : _streamed.Serves(weights) ? ExpertKernel.Stream
            : _tiled.Serves(weights) ? ExpertKernel.Tiles : ExpertKernel.Plain;
    }

    private bool Serves(ExpertKernel kernel, ExpertWeights weights) => kernel switch
    {
        ExpertKernel.Gemv => GemvExperts.Serves(weights),
        ExpertKernel.Skinny => _skinny.Serves(weights),
        ExpertKernel.Tiles => _tiled.Serves(weights),
        ExpertKernel.Stream => _streamed.Serves(weights),
        _ => true,
    };

    private ExpertRoutes Route(Tensor normed, in LinearInput input, ExpertWeights weights, nint rowCount)
    {
        int rows = input.Rows.Rows, columns = input.Rows.Columns, count = rows * weights.TopK;
        nint probabilities = scratch.Get(ScratchUse.RouteProbabilities, (long)count * sizeof(float));
        nint chosen = scratch.Get(ScratchUse.RouteIndices, ((3L * count) + weights.Experts + 1) * sizeof(int));
        ExpertRoutes routes = new(probabilities, Sources: chosen + (count * sizeof(int)), Places: chosen + (2 * count * sizeof(int)), Starts: chosen + (3 * count * sizeof(int)), count);
        int share = rows >= RowsThatShareRouter * 2 * device.Multiprocessors && RouteBytes(RowsThatShareRouter) + RouteOwnBytes <= device.SharedBytesPerBlock ? RowsThatShareRouter : 1;
        RouteArguments arguments = new()
        {
            Input = input.Rows.Data,
            Router = weights.Router.Weight.Data,
            RouterBias = weights.Router.Bias?.Data ?? 0,
            Gamma = input.Norm?.Gamma.Data ?? 0,
            Beta = input.Norm?.Beta?.Data ?? 0,
            Normed = normed.Data == input.Rows.Data ? 0 : normed.Data,
            Probabilities = probabilities,
            Chosen = chosen,
            Starts = routes.Starts,
            Sources = routes.Sources,
            Places = routes.Places,
            Arrived = scratch.Get(ScratchUse.RouteArrivals, sizeof(uint)),
            RowCount = rowCount,
            Epsilon = input.Norm?.Epsilon ?? 0,
            Rows = rows,
            Columns = columns,
            Experts = weights.Experts,
            Top = weights.TopK,
            Normalize = weights.NormalizeTopK ? 1 : 0,
        };
        KernelConstants constants = new()
        {
            In = input.Rows.Type,
            Weight = weights.Router.Weight.Type,
            Out = normed.Type,
            Norm = input.Norm is not { } norm ? 0 : norm.Kind == NormKind.Rms ? 1 : 2,
            Rows = share,
        };
        kernels.Get("experts_route", "route", constants).Launch(arguments, ((rows + share - 1) / share, 1, 1), RouteThreads, RouteBytes(share));
        return routes;

        int RouteBytes(int share) => sizeof(float) * Math.Max(share * (((columns + 7) / 8 * 8) + weights.Experts), (RouteWarps + 1) * weights.Experts);
    }

    private int Gemv(Tensor gated, Tensor normed, ExpertWeights weights, ExpertRoutes routes)
    {
        _gemv.Run(gated, normed, weights.GateUp, weights.Experts, routes, routes.Sources, weights.Activation);
        _gemv.Run(Results(routes.Visits, weights.Down.Rows / weights.Experts, 1), gated, weights.Down, weights.Experts, routes, sources: 0, activation: null);
        return 1;
    }

    private int Streamed(Tensor gated, Tensor normed, ExpertWeights weights, ExpertRoutes routes, int visitsEach)
    {
        int tiles = _streamed.Tiles(weights, visitsEach);
        _streamed.Run(gated, normed, weights.GateUp, weights.Experts, routes, routes.Sources, tiles, weights.Activation);
        int parts = _streamed.Parts(weights.Down.Columns, tiles);
        _streamed.Run(Results(routes.Visits, weights.Down.Rows / weights.Experts, parts), gated, weights.Down, weights.Experts, routes, sources: 0, tiles, activation: null);
        return parts;
    }

    private int Skinny(Tensor gated, Tensor normed, ExpertWeights weights, ExpertRoutes routes, int visitsEach)
    {
        _skinny.Run(gated, Gathered(normed, weights.Experts, routes), weights.GateUp, weights.Experts, routes, visitsEach, weights.Activation);
        _skinny.Run(Results(routes.Visits, weights.Down.Rows / weights.Experts, 1), gated, weights.Down, weights.Experts, routes, visitsEach, activation: null);
        return 1;
    }

    private int Tiled(Tensor gated, Tensor normed, ExpertWeights weights, ExpertRoutes routes)
    {
        _tiled.Run(gated, Gathered(normed, weights.Experts, routes), weights.GateUp, weights.Experts, routes, weights.Activation);
        _tiled.Run(Results(routes.Visits, weights.Down.Rows / weights.Experts, 1), gated, weights.Down, weights.Experts, routes, activation: null);
        return 1;
    }

    private int Plain(Tensor gated, Tensor normed, ExpertWeights weights, ExpertRoutes routes)
    {
        Tensor gateUp = scratch.Matrix(ScratchUse.ExpertGateUp, weights.GateUp.Type, routes.Visits, 2 * gated.Columns);
        products.MultiplyGrouped(gateUp, normed, weights.GateUp, routes.Starts, routes.Sources, weights.Experts);
        products.Epilogue(gated, gateUp, bias: null, weights.Activation, gated: true, accumulate: false);
        products.MultiplyGrouped(Results(routes.Visits, weights.Down.Rows / weights.Experts, 1), gated, weights.Down, routes.Starts, sources: 0, weights.Experts);
        return 1;
    }

    // Rows in order of expert.
    private Tensor Gathered(Tensor rows, int experts, ExpertRoutes routes)
    {
        Tensor sorted = scratch.Matrix(ScratchUse.ExpertRows, rows.Type, routes.Visits, rows.Columns);
        int vectors = rows.Columns * rows.Type.Size() / 16;
        GatherArguments gather = new() { Input = rows.Data, Output = sorted.Data, Sources = routes.Sources, Starts = routes.Starts, Experts = experts, Vectors = vectors };
        kernels.Get("experts", "gather", default).Launch(gather, (routes.Visits, (vectors + 511) / 512, 1), threads: 256);
        return sorted;
    }

    private Tensor Results(int visits, int model, int parts) => scratch.Matrix(ScratchUse.ExpertResults, DType.F32, visits * parts, model);

    [StructLayout(LayoutKind.Sequential)]
    private struct RouteArguments
    {
        public nint Input, Router, RouterBias, Gamma, Beta, Normed, Probabilities, Chosen, Starts, Sources, Places, Arrived, RowCount;
        public float Epsilon;
        public int Rows, Columns, Experts, Top, Normalize;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct GatherArguments
    {
        public nint Input, Output, Sources, Starts;
        public int Experts, Vectors;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct CombineArguments
    {
        public nint Results, Probabilities, Places, Output;
        public long Part;
        public int Columns, Top, Parts;
    }
}

/// <summary>Which rows visit which experts, on the device.</summary>
/// <param name="Probabilities">[rows · top k] Shares in the rows' results, F32.</param>
/// <param name="Sources">[visits] The visiting row, in order of expert.</param>
/// <param name="Places">[rows · top k] Where each choice went in that order.</param>
/// <param name="Starts">[experts + 1] Where each expert's visits begin.</param>
/// <param name="Visits">The most visits that there can be.</param>
internal readonly record struct ExpertRoutes(nint Probabilities, nint Sources, nint Places, nint Starts, int Visits);

/// <summary>Kinds of products grouped by expert.</summary>
internal enum ExpertKernel
{
    /// <summary>FP32 arithmetic on any shape and type.</summary>
    Plain,

    /// <summary>One row: experts_gemv.cu.</summary>
    Gemv,

    /// <summary>mma.sync straight from registers: experts_stream.cu.</summary>
    Stream,

    /// <summary>wgmma with weights on the long side: experts_skinny.cu.</summary>
    Skinny,

    /// <summary>wgmma with visits on the long side: experts_tiles.cu.</summary>
    Tiles,
}
