using System.Diagnostics;
using FastGen.Tests;

namespace FastGen.Benchmarks;

/// <summary>What a step costs the host, everything but the arithmetic: the engine on a backend that computes nothing.</summary>
internal static class HostCostBenchmark
{
    private const int MeasuredSteps = 2_000;

    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(2);

    public static int Run(string[] args)
    {
        int[] sequences = args.Length > 0 ? [.. args.Select(int.Parse)] : [1, 8, 64, 256, 1_000];
        // The runtime compiles hot code anew in the background; until then a step takes several times as long.
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < WarmUp;) _ = Measure(64, 0);
        Console.WriteLine("sequences  waiting  µs a step  bound (20 + 0.5 a sequence)  bytes allocated a step");
        bool within = true;
        foreach (int count in sequences)
        {
            foreach (int waiting in (int[])[0, 10_000])
            {
                (double microseconds, double bytes) = Measure(count, waiting);
                double bound = 20 + (0.5 * count);
                within &= microseconds <= bound;
                Console.WriteLine($"{count,9}  {waiting,7}  {microseconds,9:F1}  {bound,27:F1}  {bytes,22:F1}");
            }
        }
        Console.WriteLine(within ? "within the bound" : "OVER the bound");
        return within ? 0 : 1;
    }

    private static (double Microseconds, double Bytes) Measure(int sequences, int waiting)
    {
        NullBackend backend = new();
        int length = MeasuredSteps + 400;
        using LlmEngine engine = new(new NullModel(backend, length + 8), [], new EngineOptions
        {
            TokenBudget = Math.Max(512, sequences),
            MaxSequences = sequences,
            CacheTokens = sequences * (length + 32),
        });
        using CountdownEvent allSubmitted = new(1);
        using ManualResetEventSlim done = new();
        long start = 0, end = 0, bytesBefore = 0, bytesAfter = 0;
        int steps = 0;
        backend.OnSubmit = () =>
        {
            allSubmitted.Wait();
            steps++;
            if (steps == 300)
            {
                start = Stopwatch.GetTimestamp();
                bytesBefore = GC.GetAllocatedBytesForCurrentThread();
            }
            else if (steps == 300 + MeasuredSteps)
            {
                bytesAfter = GC.GetAllocatedBytesForCurrentThread();
                end = Stopwatch.GetTimestamp();
                done.Set();
            }
        };
        for (int i = 0; i < sequences + waiting; i++) engine.Submit([1, 2, 3], new SamplingParameters { MaxNewTokens = length });
        allSubmitted.Signal();
        done.Wait();
        return (Stopwatch.GetElapsedTime(start, end).TotalMicroseconds / MeasuredSteps, (bytesAfter - bytesBefore) / (double)MeasuredSteps);
    }
}
