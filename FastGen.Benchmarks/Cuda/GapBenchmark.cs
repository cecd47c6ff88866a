using System.Globalization;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Benchmarks.Cuda;

/// <summary>
/// Whether the device waits for the host in a steady decode: `cuda --gaps [--shape llama|qwen]`. Events on the device's stream mark where each step
/// begins, has its metadata and ends; the gap is the time from one step's end to the next one's work.
/// </summary>
internal static class GapBenchmark
{
    private const int MaxContext = 8192;
    private const int Context = 512;
    private const int Steps = 64;
    private const int SkippedSteps = 4;

    public static void Run(CudaOptions options, string? only)
    {
        foreach ((LlamaShape shape, int[] counts) in ((LlamaShape, int[])[])[(LlamaShape.Llama8B, [1, 8, 64, 128]), (LlamaShape.Qwen06B, [1, 8, 64])])
        {
            if (only is not null && !shape.Name.Contains(only, StringComparison.OrdinalIgnoreCase)) continue;
            using CudaBackend backend = new(options: options);
            LlamaShapedModel model = new(backend, shape, MaxContext);
            StepRunner runner = new(backend, model, new StepLimits(8192, counts[^1], 16, MaxContext / 16), cachedTokens: 1000 * counts[^1]);
            foreach (int sequences in counts) Measure(backend, shape, model, runner, sequences);
        }
    }

    private static void Measure(CudaBackend backend, LlamaShape shape, LlamaShapedModel model, StepRunner runner, int sequences)
    {
        runner.Prefill(sequences, Context);
        runner.Decode(sequences, 6);
        runner.Rewind(sequences, Context);
        double plain = runner.Decode(sequences, Steps) / Steps * 1e6;
        runner.Rewind(sequences, Context);
        backend.BeginTimeline();
        double marked = runner.Decode(sequences, Steps) / Steps * 1e6;
        IReadOnlyList<StepTimes> steps = backend.EndTimeline();
        List<double> whole = [], gaps = [], staging = [];
        for (int i = SkippedSteps; i < steps.Count; i++)
        {
            whole.Add(steps[i].End - steps[i - 1].End);
            gaps.Add(steps[i].Begin - steps[i - 1].End);
            staging.Add(steps[i].Staged - steps[i].Begin);
        }
        double step = Median(whole), idle = Median(gaps), staged = Median(staging);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{shape.Name}, decode of {sequences}: {plain:F0} µs a step ({marked:F0} with marks); on the device {step:F1} µs, from end to begin {idle:F1} µs (largest {gaps.Max():F1}), metadata {staged:F1} µs: {(idle + staged) / step:P2} of the step"));
        Console.WriteLine("  steps: " + string.Join(' ', steps.Take(12).Select((times, i) => string.Create(CultureInfo.InvariantCulture, $"{(i == 0 ? 0 : times.Begin - steps[i - 1].End):F0}+{times.Staged - times.Begin:F0}+{times.End - times.Staged:F0}"))));
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }
}
