using System.Globalization;
using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Benchmarks.Cuda;

/// <summary>
/// A prompt chunk's step kernel by kernel: alone, against its own limit, and what it adds to the step. The limit of a product is its arithmetic at
/// the rate of cuBLASLt on the same shape in the same run, that of attention the best of these rates, that of the rest its bytes at the rate of
/// reading. Small differences between two whole steps are noise.
/// </summary>
internal static class PromptBenchmark
{
    private const int MaxContext = 8192;
    private const int BlockSize = 16;
    private const int RateRuns = 20;
    private const int TokensTimed = 16384;
    private const int WholeTokensTimed = 32768;

    public static void Run(LlamaShape shape, CudaOptions options, double readRate)
    {
        using CudaBackend backend = new(options: options);
        LlamaShapedModel model = new(backend, shape, MaxContext);
        StepRunner runner = new(backend, model, new StepLimits(MaxContext, 16, BlockSize, MaxContext / BlockSize), cachedTokens: 40_000);
        foreach ((int prompts, int length) in ((int, int)[])[(1, 512), (1, 1024), (1, 2048), (16, 2048), (4, 8000)])
        {
            runner.Prefill(prompts, length);
            int times = Math.Max(1, WholeTokensTimed / (prompts * length));
            double seconds = Enumerable.Range(0, times).Sum(_ => runner.Prefill(prompts, length));
            Print($"{shape.Name}, {prompts} × prompt of {length}: {prompts * length * times / seconds:N0} tok/s");
        }
        foreach (int tokens in (int[])[512, 2048, 8000])
        {
            double[] rates = Rates(shape, tokens, leastTileUse: 2), own = Rates(shape, tokens, leastTileUse: 0);
            Print($"\n{shape.Name}, {tokens} rows, 20 times in a row, TFLOP/s of qkv, out, gate-up, down: cuBLASLt {Teraflops(rates)}, gemm.cu {Teraflops(own)}");
            Profile(backend, model, runner, shape, tokens, rates, readRate);
        }
    }

    private static string Teraflops(double[] rates) => string.Join(", ", rates.Select(rate => (rate / 1e12).ToString("F0", CultureInfo.InvariantCulture)));

    // FLOP/s of the layer's products alone: qkv, out, gate-up, down.
    private static double[] Rates(LlamaShape shape, int rows, double leastTileUse)
    {
        using CudaBackend backend = new(options: new CudaOptions { LeastTileUse = leastTileUse });
        Tensor one = backend.Allocate(DType.F32, 1, 1);
        float[] value = new float[1];
        double Rate(int outputs, int inputs)
        {
            Tensor weights = backend.AllocateWeights(DType.BF16, outputs, inputs), input = backend.Allocate(DType.BF16, rows, inputs), output = backend.Allocate(DType.BF16, rows, outputs);
            CudaBenchmark.FillRandom(backend, weights);
            CudaBenchmark.FillRandom(backend, input);
            return 2.0 * rows * outputs * inputs / CudaBenchmark.Time(RateRuns, () => backend.Linear(output, new LinearInput(input), new LinearWeights(weights)), () => backend.Download(one, value));
        }
        return [Rate(shape.QkvColumns, shape.Hidden), Rate(shape.Hidden, shape.Heads * shape.HeadDim), Rate(2 * shape.Mlp, shape.Hidden), Rate(shape.Hidden, shape.Mlp)];
    }

    private static double NormSeconds(CudaBackend backend, int rows, int columns)
    {
        Tensor one = backend.Allocate(DType.F32, 1, 1), gamma = backend.Allocate(DType.F32, 1, columns), input = backend.Allocate(DType.F32, rows, columns), output = backend.Allocate(DType.BF16, rows, columns);
        float[] value = new float[1], ones = new float[columns];
        Array.Fill(ones, 1f);
        backend.Upload(MemoryMarshal.AsBytes<float>(ones), DType.F32, gamma);
        return CudaBenchmark.Time(RateRuns, () => backend.Norm(output, input, new NormWeights(NormKind.Rms, gamma, null, 1e-5f)), () => backend.Download(one, value));
    }

    private static void Profile(CudaBackend backend, LlamaShapedModel model, StepRunner runner, LlamaShape shape, int tokens, double[] rates, double readRate)
    {
        double Microseconds(Operations operations)
        {
            model.Operations = operations;
            runner.Prefill(1, tokens);
            int times = Math.Clamp(TokensTimed / tokens, 2, 8);
            double seconds = 0;
            for (int i = 0; i < times; i++) seconds += runner.Prefill(1, tokens);
            return seconds / times * 1e6;
        }
        double all = Microseconds(Operations.All), empty = Microseconds(Operations.None), norm = NormSeconds(backend, tokens, shape.Hidden) * 1e6;
        double h = shape.Hidden, queries = shape.Heads * shape.HeadDim, normLimit = 6.0 * tokens * h / readRate * 1e6;
        Print($"\n{shape.Name}, chunk of {tokens}: {all:F0} µs, {tokens / all * 1e6:N0} tok/s; an empty step {empty:F0} µs. Per layer, µs:");
        Print($"  {"norm, each",-26} alone {norm,8:F1}, limit {normLimit,8:F1} ({normLimit / norm,4:P0})");
        foreach ((string name, Operations operation, double limit) in ((string, Operations, double)[])
        [
            ("norm, qkv, heads, cache", Operations.Qkv | Operations.Store, normLimit + (2e6 * tokens * h * shape.QkvColumns / rates[0])),
            ("attention", Operations.Attention, 2e6 * tokens * tokens * queries / rates.Max()),
            ("out, residual", Operations.Out, 2e6 * tokens * h * queries / rates[1]),
            ("norm, gate-up, SiLU", Operations.GateUp, normLimit + (4e6 * tokens * h * shape.Mlp / rates[2])),
            ("down, residual", Operations.Down, 2e6 * tokens * h * shape.Mlp / rates[3]),
        ])
        {
            double alone = (Microseconds(operation) - empty) / shape.Layers, inStep = (all - Microseconds(Operations.All & ~operation)) / shape.Layers;
            Print($"  {name,-26} alone {alone,8:F1}, limit {limit,8:F1} ({limit / alone,4:P0}), in the step {inStep,8:F1}");
        }
        double head = Microseconds(Operations.Head | Operations.Ends | Operations.Sample) - empty, headLimit = 2e6 * h * shape.Vocabulary / readRate;
        Print($"  head and sampling, a step: alone {head:F1}, limit {headLimit:F1} ({headLimit / head:P0})");
        model.Operations = Operations.All;
    }

    private static void Print(FormattableString line) => Console.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
