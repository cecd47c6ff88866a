using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>A sparse mixture of experts: rows are sorted by expert on the device, so that the host need not know who went where.</summary>
internal sealed class ExpertProducts(KernelLibrary kernels, CudaScratch scratch, LinearProducts products)
{
    private const int GroupThreads = 1024;
    private const int RouteThreads = 128;

    /// <summary>output += Σ over the chosen experts of probability · expert(norm(input)).</summary>
    public void Run(Tensor output, in LinearInput input, ExpertWeights weights)
    {
        int rows = output.Rows, count = rows * weights.TopK, hidden = weights.Down.Columns, model = weights.Down.Rows / weights.Experts;
        Tensor normed = products.Prepared(input, weights.GateUp.Type);
        Tensor logits = scratch.Matrix(ScratchUse.Routes, DType.F32, rows, weights.Experts);
        products.Linear(logits, new LinearInput(normed), weights.Router, Activation.None, accumulate: false);

        nint probabilities = scratch.Get(ScratchUse.RouteProbabilities, (long)count * sizeof(float));
        nint indices = scratch.Get(ScratchUse.RouteIndices, ((3L * count) + weights.Experts + 1) * sizeof(int));
        nint chosen = indices, sources = chosen + (count * sizeof(int)), places = sources + (count * sizeof(int)), starts = places + (count * sizeof(int));
        RouteArguments route = new() { Logits = logits.Data, Probabilities = probabilities, Chosen = chosen, Rows = rows, Experts = weights.Experts, Top = weights.TopK, Normalize = weights.NormalizeTopK ? 1 : 0 };
        kernels.Get("experts", "route", new KernelConstants { Out = output.Type }).Launch(route, ((rows + 3) / 4, 1, 1), RouteThreads);
        GroupArguments group = new() { Chosen = chosen, Starts = starts, Sources = sources, Places = places, Count = count, Top = weights.TopK, Experts = weights.Experts };
        kernels.Get("experts", "group", new KernelConstants { Out = output.Type }).Launch(group, (1, 1, 1), GroupThreads, sharedBytes: (weights.Experts + 1) * sizeof(int));

        Tensor gateUp = scratch.Matrix(ScratchUse.ExpertGateUp, weights.GateUp.Type, count, 2 * hidden);
        products.MultiplyGrouped(gateUp, normed, weights.GateUp, starts, sources, weights.Experts);
        Tensor gated = scratch.Matrix(ScratchUse.ExpertGated, weights.Down.Type, count, hidden);
        products.Epilogue(gated, gateUp, bias: null, weights.Activation, gated: true, accumulate: false);
        Tensor results = scratch.Matrix(ScratchUse.ExpertResults, DType.F32, count, model);
        products.MultiplyGrouped(results, gated, weights.Down, starts, sources: 0, weights.Experts);
        CombineArguments combine = new() { Results = results.Data, Probabilities = probabilities, Places = places, Output = output.Data, Columns = model, Top = weights.TopK };
        kernels.Get("experts", "combine", new KernelConstants { Out = output.Type }).Launch(combine, (rows, 1, 1), threads: 256);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct RouteArguments
    {
        public nint Logits, Probabilities, Chosen;
        public int Rows, Experts, Top, Normalize;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct GroupArguments
    {
        public nint Chosen, Starts, Sources, Places;
        public int Count, Top, Experts;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct CombineArguments
    {
        public nint Results, Probabilities, Places, Output;
        public int Columns, Top;
    }
}
