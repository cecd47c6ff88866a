using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Benchmarks.Cuda;

/// <summary>What drawing costs a decode step: steps of nothing but <see cref="IBackend.Sample"/>, with log probabilities and without.</summary>
internal static class SamplingBenchmark
{
    private const int Vocabulary = 128256;
    private const int Steps = 200;

    /// <summary>Prints a line for each number of rows; returns the exit code.</summary>
    public static int Run()
    {
        foreach ((int rows, bool flat) in ((int, bool)[])[(1, false), (64, false), (1, true), (64, true)])
        {
            using CudaBackend backend = new();
            StepLimits limits = new(Tokens: rows, Sequences: rows, BlockSize: 16, BlocksPerSequence: 1024);
            Tensor logits = backend.Allocate(DType.F32, rows, Vocabulary);
            Random random = new(1);
            backend.Upload(MemoryMarshal.AsBytes<float>(Logits(random, rows, flat)), DType.F32, logits);
            backend.Prepare(new ModelShape { Layers = 1, HiddenSize = 64, VocabularySize = Vocabulary, MlpColumns = 64, Heads = 1, KvHeads = 1, HeadDim = 64, MaxContext = 16384, WeightType = DType.BF16 }, limits);
            RaggedBatch batch = new(limits);
            Action<int, int> forward = (_, logitRows) => backend.Sample(logits.WithRows(logitRows), batch);
            SamplingParameters greedy = SamplingParameters.Greedy, drawn = new();
            (string Name, SamplingParameters Sampling)[] kinds =
            [
                ("greedy", greedy), ("+ log probability", greedy with { LogProbabilities = true }), ("+ 5 likeliest", greedy with { TopLogProbabilities = 5 }), ("+ 20 likeliest", greedy with { TopLogProbabilities = 20 }),
                ("drawn from all", drawn), ("top-k 50", drawn with { TopK = 50 }), ("top-p 0.9", drawn with { TopP = 0.9f }), ("min-p 0.05", drawn with { MinP = 0.05f }), ("top-k 50, top-p 0.9", drawn with { TopK = 50, TopP = 0.9f }),
            ];
            Console.WriteLine($"{rows} rows of {Vocabulary} {(flat ? "evenly spread" : "Zipf-like")} logits, µs a step: " + string.Join(", ", kinds.Select(kind => string.Create(CultureInfo.InvariantCulture, $"{kind.Name} {Microseconds(backend, batch, forward, kind.Sampling):F1}"))));
        }
        return 0;
    }

    // Probabilities that fall with the rank as a language's do, or logits spread evenly: the worst for whoever looks for the most likely.
    private static float[] Logits(Random random, int rows, bool flat)
    {
        float[] logits = new float[rows * Vocabulary];
        for (int i = 0; i < logits.Length; i++) logits[i] = flat ? random.NextSingle() * 20 : 20 - (1.3f * MathF.Log(1 + (i % Vocabulary)));
        for (int row = 0; row < rows; row++) random.Shuffle(logits.AsSpan(row * Vocabulary, Vocabulary));
        return logits;
    }

    private static double Microseconds(CudaBackend backend, RaggedBatch batch, Action<int, int> forward, SamplingParameters sampling)
    {
        int rows = batch.Limits.Sequences;
        int[] blocks = new int[batch.Limits.BlocksPerSequence], tokens = new int[rows];
        long start = 0;
        for (int step = -10; step < Steps; step++)
        {
            if (step == 0) start = Stopwatch.GetTimestamp();
            batch.Clear();
            for (int slot = 0; slot < rows; slot++)
            {
                if (step == -10) batch.SetSampling(slot, sampling.ForSlot((ulong)slot, promptLength: 1));
                batch.AddSequence(slot, [1], step + 10, blocks);
                batch.AddLogitRow();
            }
            backend.Collect(backend.Submit(batch, forward), tokens);
        }
        return Stopwatch.GetElapsedTime(start).TotalMicroseconds / Steps;
    }
}
