using System.Globalization;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Benchmarks.Cuda;

internal static class VariantBenchmark
{
    private sealed record Variant(string Name, int Warps = 4, int Resident = 0, int Direct = 0, int Bound = 0, int Slots = 0, int Splits = 0, int Carve = -1, int ClusterWarps = 4, int ClusterBound = 0);

    private static readonly Variant[] Many =
    [
        new("base"), new("13 slots", 4, 2), new("4 warps, 3 CTAs", 4, 3, 0, 3), new("2 warps, 4 CTAs", 2, 4), new("1 warp, 4 CTAs", 1, 4), new("1 warp, 8 CTAs", 1, 8), new("2 warps, 8 CTAs", 2, 8, 0, 8), new("carveout", Carve: 100),
        new("2 warps, 4 CTAs, carveout", 2, 4, Carve: 100),
    ];

    private static readonly Variant[] Few =
    [
        new("base"), new("direct", Direct: 1), new("9 slots", Slots: 9), new("12 slots", Slots: 12), new("9 slots, direct", Direct: 1, Slots: 9), new("2 splits", Slots: 16, Splits: 2), new("2 splits, direct", Direct: 1, Slots: 16, Splits: 2),
        new("8 warps", ClusterWarps: 8), new("8 warps, direct", Direct: 1, ClusterWarps: 8), new("8 warps, 9 slots, direct, 128", Direct: 1, Slots: 9, ClusterWarps: 8, ClusterBound: 2),
        new("carveout", Carve: 100), new("9 slots, direct, carveout", Direct: 1, Slots: 9, Carve: 100),
    ];

    public static void Run(string? only)
    {
        if (only is null or "llama") Measure(LlamaShape.Llama8B, [(1, 512, 2), (8, 512, 2), (64, 512, 2), (128, 512, 2), (64, 1024, 1), (32, 4000, 1)], 150_000);
        if (only is null or "qwen") Measure(LlamaShape.Qwen06B, [(1, 512, 2), (8, 512, 2), (64, 512, 2)], 60_000);
    }

    private static void Measure(LlamaShape shape, (int Sequences, int Context, int Repeats)[] points, int cachedTokens)
    {
        const int MaxContext = 8192, Steps = 32;
        using CudaBackend backend = new();
        LlamaShapedModel model = new(backend, shape, MaxContext);
        StepRunner runner = new(backend, model, new StepLimits(8192, 128, 16, MaxContext / 16), cachedTokens);
        foreach ((int sequences, int context, int repeats) in points)
        {
            runner.Prefill(sequences, context);
            double Time(Operations operations)
            {
                model.Operations = operations;
                backend.ForgetRecordings();
                runner.Rewind(sequences, context);
                runner.Decode(sequences, 5);
                runner.Rewind(sequences, context);
                return runner.Decode(sequences, Steps) / Steps * 1e6;
            }
            for (int repeat = 0; repeat < repeats; repeat++)
            {
                double empty = Time(Operations.None);
                foreach (Variant v in sequences > 16 ? Many : Few)
                {
                    (AttentionSplitting.VarWarps, AttentionSplitting.VarResident, AttentionSplitting.VarDirect, AttentionSplitting.VarBound, AttentionSplitting.VarSlots, AttentionSplitting.VarSplits, CudaKernel.VarCarveout) = (v.Warps, v.Resident, v.Direct, v.Bound, v.Slots, v.Splits, v.Carve);
                    (AttentionSplitting.VarClusterWarps, AttentionSplitting.VarClusterBound) = (v.ClusterWarps, v.ClusterBound);
                    double alone = (Time(Operations.Store | Operations.Attention) - empty) / shape.Layers, all = Time(Operations.All);
                    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{shape.Name} {sequences} @ {context} {v.Name,-28} attention {alone,7:F2} µs, step {all,8:F1} µs, {sequences / all * 1e6,9:F1} tok/s"));
                }
            }
        }
        (AttentionSplitting.VarWarps, AttentionSplitting.VarResident, AttentionSplitting.VarDirect, AttentionSplitting.VarBound, AttentionSplitting.VarSlots, AttentionSplitting.VarSplits, CudaKernel.VarCarveout) = (4, 0, 0, 0, 0, 0, -1);
        foreach ((string kernel, int registers, int localBytes) in backend.KernelResources) if (kernel.Contains("split", StringComparison.Ordinal)) Console.WriteLine($"  {registers} registers, {localBytes} bytes spilled: {kernel}");
    }
}
