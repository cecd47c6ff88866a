using System.Diagnostics;
using System.Globalization;
using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Benchmarks.Cuda;

/// <summary>The attention of prompts alone, for each size of heads: causal, over scattered blocks.</summary>
internal static class AttentionBenchmark
{
    private const int MaxContext = 8192;
    private const int BlockSize = 16;
    private const int Repeats = 16;
    private const int Runs = 3;

    private static readonly (int Heads, int KvHeads, int HeadDim)[] Shapes = [(32, 8, 128), (32, 32, 128), (32, 8, 64), (32, 32, 80), (32, 32, 96), (16, 8, 256)];

    private static readonly (int Sequences, int Tokens, int Before)[] Chunks = [(1, 512, 0), (1, 2048, 0), (4, 2048, 0), (1, 8000, 0), (1, 128, 6000), (1, 512, 1024), (1, 512, 6000), (1, 2048, 6000)];

    public static void Run()
    {
        foreach ((int heads, int kvHeads, int headDim) in Shapes) Measure(heads, kvHeads, headDim);
    }

    private static void Measure(int heads, int kvHeads, int headDim)
    {
        using CudaBackend backend = new();
        StepLimits limits = new(MaxContext, 8, BlockSize, MaxContext / BlockSize);
        backend.Prepare(new ModelShape { Layers = 1, HiddenSize = 4096, VocabularySize = 1000, MlpColumns = 4096, Heads = heads, KvHeads = kvHeads, HeadDim = headDim, MaxContext = MaxContext, WeightType = DType.BF16 }, limits);
        AttentionWeights attention = new() { Heads = heads, KvHeads = kvHeads, HeadDim = headDim, Scale = 1 / MathF.Sqrt(headDim) };
        int blocks = limits.Sequences * limits.BlocksPerSequence;
        KvLayer cache = backend.AllocateKvLayer(DType.BF16, blocks, BlockSize, kvHeads, headDim);
        Tensor qkv = backend.Allocate(DType.F32, limits.Tokens, attention.QkvColumns), output = backend.Allocate(DType.BF16, limits.Tokens, attention.QueryColumns);
        CudaBenchmark.FillRandom(backend, qkv, scale: 4);
        Tensor one = backend.Allocate(DType.F32, 1, 1);
        float[] value = new float[1];
        int[] all = [.. Enumerable.Range(0, blocks)];
        new Random(2).Shuffle(all);
        int[][] tables = [.. all.Chunk(limits.BlocksPerSequence)];
        foreach ((int sequences, int tokens, int before) in Chunks)
        {
            RaggedBatch batch = new(limits);
            void Store(int from, int count)
            {
                batch.Clear();
                for (int slot = 0; slot < sequences; slot++)
                {
                    if (from == 0) batch.SetSampling(slot, SamplingParameters.Greedy.ForSlot(0, 1));
                    for (int i = (from + BlockSize - 1) / BlockSize; i < (from + count + BlockSize - 1) / BlockSize; i++) batch.SetBlock(slot, i, tables[slot][i]);
                    batch.AddSequence(slot, new int[count], from, tables[slot]);
                }
                _ = backend.Submit(batch, (rows, _) => backend.StoreKv(qkv.WithRows(rows), cache, attention, batch));
            }
            double Seconds(int times)
            {
                backend.Download(one, value);
                long start = Stopwatch.GetTimestamp();
                _ = backend.Submit(batch, (rows, _) =>
                {
                    for (int i = 0; i < times; i++) backend.Attention(output.WithRows(rows), qkv.WithRows(rows), cache, attention, batch);
                });
                backend.Download(one, value);
                return Stopwatch.GetElapsedTime(start).TotalSeconds;
            }
            if (before > 0) Store(0, before);
            Store(before, tokens);
            _ = Seconds(2);
            double best = Enumerable.Range(0, Runs).Min(_ => -Seconds(1) + Seconds(Repeats + 1)) / Repeats;
            double flops = 4.0 * heads * headDim * sequences * (((double)tokens * before) + (tokens * (tokens + 1.0) / 2));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  attention of {heads}/{kvHeads} heads of {headDim}, {sequences} × {tokens} after {before}: {best * 1e6,7:F1} µs, {flops / best / 1e12,4:F0} TFLOP/s"));
        }
    }
}
