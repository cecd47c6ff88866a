using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Benchmarks.Cuda;

/// <summary>
/// One layer's mixture of experts at Mixtral-8x7B's shape, from one row to a prompt's: the rate of reading the experts that have visits, and of
/// computing. `cuda --experts [--rows N,…] [--kernel Gemv|Skinny|Tiles|Stream|Plain]`; without a kernel the one that suits.
/// </summary>
internal static class ExpertBenchmark
{
    private const int Experts = 8, TopK = 2, Model = 4096, Hidden = 14336;

    public static void Run(CudaOptions options, int[] rowCounts)
    {
        using CudaBackend backend = new(options: options);
        Tensor gateUp = backend.AllocateWeights(DType.BF16, Experts * 2 * Hidden, Model), down = backend.AllocateWeights(DType.BF16, Experts * Model, Hidden), router = backend.AllocateWeights(DType.BF16, Experts, Model);
        Tensor one = backend.Allocate(DType.F32, 1, 1);
        RandomMatrices.Fill(backend, gateUp);
        RandomMatrices.Fill(backend, down);
        Random random = new(5);
        float[] routes = [.. Enumerable.Range(0, Experts * Model).Select(_ => Rounded((random.NextSingle() - 0.5f) / 8))], ones = new float[Model];
        backend.Upload(MemoryMarshal.AsBytes<float>(routes), DType.F32, router);
        Array.Fill(ones, 1f);
        Tensor gamma = backend.Allocate(DType.F32, 1, Model);
        backend.Upload(MemoryMarshal.AsBytes<float>(ones), DType.F32, gamma);
        ExpertWeights weights = new() { Router = new LinearWeights(router), GateUp = gateUp, Down = down, Experts = Experts, TopK = TopK, NormalizeTopK = true, Activation = Activation.Silu };
        foreach (int rows in rowCounts)
        {
            float[] values = [.. Enumerable.Range(0, rows * Model).Select(_ => random.NextSingle() - 0.5f)];
            Tensor input = backend.Allocate(DType.F32, rows, Model), output = backend.Allocate(DType.F32, rows, Model);
            backend.Upload(MemoryMarshal.AsBytes<float>(values), DType.F32, input);
            int[] visits = Visits(values, routes, rows);
            float[] value = new float[1];
            double seconds = Seconds(rows <= 256 ? 20 : 5, () => backend.MixtureOfExperts(output, new LinearInput(input, new NormWeights(NormKind.Rms, gamma, null, 1e-5f)), weights), () => backend.Download(one, value));
            double bytes = visits.Count(count => count > 0) * 6.0 * Model * Hidden, flops = 6.0 * rows * TopK * Model * Hidden;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"experts, {rows,5} rows ({visits.Count(count => count > 0)} touched, at most {visits.Max()} visits): {seconds * 1e6,9:F1} µs, {bytes / seconds / 1e12:F2} TB/s, {flops / seconds / 1e12:F0} TFLOP/s"));
        }
    }

    private static float Rounded(float value) => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) & 0xffff0000);

    private static int[] Visits(float[] values, float[] routes, int rows)
    {
        int[] visits = new int[Experts];
        float[] logits = new float[Experts];
        for (int row = 0; row < rows; row++)
        {
            for (int expert = 0; expert < Experts; expert++)
            {
                logits[expert] = System.Numerics.Tensors.TensorPrimitives.Dot(values.AsSpan(row * Model, Model), routes.AsSpan(expert * Model, Model));
            }
            foreach (int expert in Enumerable.Range(0, Experts).OrderByDescending(expert => logits[expert]).Take(TopK)) visits[expert]++;
        }
        return visits;
    }

    private static double Seconds(int count, Action queue, Action wait)
    {
        for (int i = 0; i < 2; i++)
        {
            queue();
            wait();
        }
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < count; i++) queue();
        wait();
        return Stopwatch.GetElapsedTime(start).TotalSeconds / count;
    }
}
