using System.Globalization;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Products;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Benchmarks.Cuda;

/// <summary>Prompts taken apart: `cuda --prompts [products] [attention] [steps]`.</summary>
internal static class PromptBenchmark
{
    private const int MaxContext = 8192;
    private const int BlockSize = 16;

    private static readonly (string Name, GemmTile? Tile)[] Ways =
        [("cuBLASLt", default(GemmTile)), ("256 × 2", new GemmTile(256, 2)), ("192 × 2", new GemmTile(192, 2)), ("128 × 2", new GemmTile(128, 2)), ("256 × 1", new GemmTile(256, 1)), ("chosen", null)];

    public static void Run(string[] args)
    {
        bool all = !args.Contains("products") && !args.Contains("attention") && !args.Contains("steps");
        if (all || args.Contains("attention")) MeasureAttention();
        if (all || args.Contains("products")) MeasureProducts();
        if (all || args.Contains("steps")) MeasureSteps(args);
    }

    private static void Print(FormattableString line)
    {
        Console.WriteLine(line.ToString(CultureInfo.InvariantCulture));
        Console.Out.Flush();
    }

    // The four products of a Llama-3-8B layer with their norms and what follows them.
    private static void MeasureProducts()
    {
        CudaOptions options = new();
        using CudaBackend backend = new(options: options);
        Tensor one = backend.Allocate(DType.F32, 1, 1), gamma = backend.Allocate(DType.F32, 1, 4096);
        float[] value = new float[1], ones = new float[4096];
        Array.Fill(ones, 1f);
        backend.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(ones), DType.F32, gamma);
        NormWeights norm = new(NormKind.Rms, gamma, null, 1e-5f);
        Tensor Weights(int outputs, int inputs)
        {
            Tensor matrix = backend.AllocateWeights(DType.BF16, outputs, inputs);
            CudaBenchmark.FillRandom(backend, matrix);
            return matrix;
        }
        LinearWeights qkv = new(Weights(6144, 4096)), o = new(Weights(4096, 4096)), gateUp = new(Weights(28672, 4096)), down = new(Weights(4096, 14336));
        foreach (int rows in (int[])[512, 2048, 8192])
        {
            Tensor hidden = backend.Allocate(DType.F32, rows, 4096), q = backend.Allocate(DType.BF16, rows, 6144), attended = backend.Allocate(DType.BF16, rows, 4096), mlp = backend.Allocate(DType.BF16, rows, 14336);
            CudaBenchmark.FillRandom(backend, attended);
            CudaBenchmark.FillRandom(backend, mlp);
            backend.Linear(hidden, new LinearInput(attended), o);
            (string Name, double Flops, Action Queue)[] products =
            [
                ("qkv", 2.0 * rows * 6144 * 4096, () => backend.Linear(q, new LinearInput(attended), qkv)), ("o", 2.0 * rows * 4096 * 4096, () => backend.Linear(hidden, new LinearInput(attended), o, accumulate: true)),
                ("gate-up", 2.0 * rows * 28672 * 4096, () => backend.GatedLinear(mlp, new LinearInput(attended), gateUp, Activation.Silu)), ("down", 2.0 * rows * 14336 * 4096, () => backend.Linear(hidden, new LinearInput(mlp), down, accumulate: true)),
                ("norm", 0, () => backend.Norm(attended, hidden, norm)),
            ];
            void Layer()
            {
                backend.Linear(q, new LinearInput(hidden, norm), qkv);
                backend.Linear(hidden, new LinearInput(attended), o, accumulate: true);
                backend.GatedLinear(mlp, new LinearInput(hidden, norm), gateUp, Activation.Silu);
                backend.Linear(hidden, new LinearInput(mlp), down, accumulate: true);
            }
            foreach ((string name, GemmTile? tile) in Ways)
            {
                options.ForcedGemm = tile;
                string line = "";
                foreach ((string product, double flops, Action queue) in products)
                {
                    double seconds = CudaBenchmark.Time(20, queue, () => backend.Download(one, value));
                    line += string.Create(CultureInfo.InvariantCulture, $" {product} {seconds * 1e6,7:F1} µs ({flops / seconds / 1e12:F0})");
                }
                double layerFlops = products.Sum(product => product.Flops), burst = CudaBenchmark.Time(20, Layer, () => backend.Download(one, value)), sustained = CudaBenchmark.Time((int)(0.4 / (layerFlops / 6e14)), Layer, () => backend.Download(one, value));
                Print($"{rows,5} rows, {name,-9}:{line}, layer {burst * 1e6,8:F1} µs ({layerFlops / burst / 1e12:F0}), sustained {sustained * 1e6,8:F1} µs ({layerFlops / sustained / 1e12:F0} TFLOP/s)");
            }
        }
    }

    private static void MeasureAttention()
    {
        (int, int, int)[] llama = [(512, 0, 1), (2048, 0, 1), (2048, 0, 4), (8000, 0, 1), (2048, 6000, 1)];
        foreach (bool turns in (bool[])[true, false]) MeasureAttention(new(2, 128, 2), turns, 32, 8, 128, llama);
        MeasureAttention(new(2, 128, 2), true, 32, 32, 128, [(2048, 0, 1), (8000, 0, 1)]);
        foreach (AttentionTiling tiling in (AttentionTiling[])[new(2, 128, 2), new(3, 128, 2)]) MeasureAttention(tiling, true, 32, 8, 64, [(2048, 0, 4), (8000, 0, 1)]);
        foreach (AttentionTiling tiling in (AttentionTiling[])[new(2, 128, 2)]) MeasureAttention(tiling, true, 32, 32, 80, [(2040, 0, 4)]);
        MeasureAttention(new(2, 128, 2), true, 32, 32, 96, [(2048, 0, 4)]);
        foreach (bool turns in (bool[])[true, false]) MeasureAttention(new(2, 64, 2), turns, 16, 8, 256, [(2048, 0, 4), (8000, 0, 1)]);
    }

    // Attention alone, 32 times in a step.
    private static void MeasureAttention(AttentionTiling tiling, bool turns, int heads, int kvHeads, int headDim, (int Tokens, int Before, int Sequences)[] cases)
    {
        const int Layers = 32;
        using CudaBackend backend = new(options: new CudaOptions { AttentionTiling = tiling, AttentionTurns = turns });
        StepLimits limits = new(8192, 8, BlockSize, (MaxContext + 8) / BlockSize);
        backend.Prepare(new ModelShape { Layers = 1, HiddenSize = 4096, VocabularySize = 1000, MlpColumns = 4096, Heads = heads, KvHeads = kvHeads, HeadDim = headDim, MaxContext = MaxContext, WeightType = DType.BF16 }, limits);
        AttentionWeights attention = new() { Heads = heads, KvHeads = kvHeads, HeadDim = headDim, Scale = 1 / MathF.Sqrt(headDim) };
        int blocks = limits.Sequences * limits.BlocksPerSequence;
        KvLayer cache = backend.AllocateKvLayer(DType.BF16, blocks, BlockSize, kvHeads, headDim);
        Tensor qkv = backend.Allocate(DType.BF16, limits.Tokens, attention.QkvColumns), output = backend.Allocate(DType.BF16, limits.Tokens, attention.QueryColumns);
        CudaBenchmark.FillRandom(backend, qkv, 4);
        int[] all = [.. Enumerable.Range(0, blocks)];
        new Random(2).Shuffle(all);
        int[][] tables = [.. all.Chunk(limits.BlocksPerSequence)];
        int[] lengths = new int[limits.Sequences];
        int[] drawn = new int[limits.Sequences];
        foreach ((int tokens, int before, int sequences) in cases)
        {
            Array.Clear(lengths);
            RaggedBatch batch = new(limits);
            void Fill(int count)
            {
                batch.Clear();
                for (int slot = 0; slot < sequences; slot++)
                {
                    if (lengths[slot] == 0) batch.SetSampling(slot, SamplingParameters.Greedy.ForSlot(0, 1));
                    for (int i = (lengths[slot] + BlockSize - 1) / BlockSize; i < (lengths[slot] + count + BlockSize - 1) / BlockSize; i++) batch.SetBlock(slot, i, tables[slot][i]);
                    batch.AddSequence(slot, new int[count], lengths[slot], tables[slot]);
                    lengths[slot] += count;
                }
            }
            double Milliseconds(int times)
            {
                backend.ForgetRecordings();
                long start = System.Diagnostics.Stopwatch.GetTimestamp();
                _ = backend.Submit(batch, (rows, _) => { for (int i = 0; i < times; i++) backend.Attention(output.WithRows(rows), qkv.WithRows(rows), cache, attention, batch); });
                backend.ForgetRecordings();
                return System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            }
            void Store() => _ = backend.Submit(batch, (rows, _) => backend.StoreKv(qkv.WithRows(rows), cache, attention, batch));
            if (before > 0)
            {
                Fill(before);
                Store();
            }
            Fill(tokens);
            Store();
            _ = Milliseconds(2);
            double best = double.PositiveInfinity;
            for (int i = 0; i < 3; i++)
            {
                double empty = Milliseconds(1);
                best = Math.Min(best, (Milliseconds(Layers + 1) - empty) / Layers);
            }
            double flops = 4.0 * heads * headDim * sequences * (((double)tokens * before) + ((double)tokens * (tokens + 1) / 2));
            Print($"attention {heads}/{kvHeads} × {headDim}, {(tiling.Warpgroups == 0 ? "mma.sync" : $"{tiling.Warpgroups} warpgroups, {tiling.Tokens} keys, {tiling.Stages} stages{(turns ? ", turns" : "")}")}, {sequences} × {tokens} after {before}: {best * 1e3:F1} µs, {flops / best / 1e9:F0} TFLOP/s");
        }
    }

    // Whole prompts, then each part of a prompt's step alone and the step without it.
    private static void MeasureSteps(string[] args)
    {
        LlamaShape shape = CudaBenchmark.Option(args, "--shape") == "qwen" ? LlamaShape.Qwen06B : LlamaShape.Llama8B;
        CudaOptions options = new();
        using CudaBackend backend = new(options: options);
        LlamaShapedModel model = new(backend, shape, MaxContext);
        StepRunner runner = new(backend, model, new StepLimits(8192, 16, BlockSize, MaxContext / BlockSize), cachedTokens: 40_000);
        foreach ((string name, GemmTile? tile) in Ways)
        {
            if (tile is { WeightRows: 192 or 128 } or { Cluster: 1 }) continue;
            options.ForcedGemm = tile;
            foreach ((int prompts, int length) in ((int, int)[])[(1, 512), (1, 2048), (16, 2048), (4, 8000)])
            {
                runner.Prefill(prompts, length);
                int repeats = Math.Max(1, 32768 / (prompts * length));
                double seconds = 0;
                for (int i = 0; i < repeats; i++) seconds += runner.Prefill(prompts, length);
                Print($"{shape.Name}, {name}, {prompts} × prompt of {length}: {prompts * length * repeats / seconds:N0} tok/s");
            }
        }
        options.ForcedGemm = null;
        foreach ((int prompts, int length) in ((int, int)[])[(1, 512), (1, 2048), (1, 8000)])
        {
            double Microseconds(Operations operations)
            {
                model.Operations = operations;
                runner.Prefill(prompts, length);
                double seconds = 0;
                int times = Math.Clamp(8192 / (prompts * length), 2, 8);
                for (int i = 0; i < times; i++) seconds += runner.Prefill(prompts, length);
                return seconds / times * 1e6;
            }
            double all = Microseconds(Operations.All);
            Print($"\n{prompts} × prompt of {length}: {all:F0} µs, {prompts * length / all * 1e6:F0} tok/s");
            double tokens = prompts * (double)length;
            long h = shape.Hidden;
            foreach ((Operations operation, double flops) in ((Operations, double)[])
            [
                (Operations.Qkv, 2 * tokens * h * shape.QkvColumns), (Operations.Store, 0), (Operations.Attention, 2.0 * tokens * length * shape.Heads * shape.HeadDim),
                (Operations.Out, 2 * tokens * h * shape.Heads * shape.HeadDim), (Operations.GateUp, 4 * tokens * h * shape.Mlp), (Operations.Down, 2 * tokens * h * shape.Mlp), (Operations.Head, 0), (Operations.Ends, 0), (Operations.Sample, 0),
            ])
            {
                double alone = Microseconds(operation) / shape.Layers, without = (all - Microseconds(Operations.All & ~operation)) / shape.Layers;
                Print($"  {operation,-10} alone {alone,8:F2} µs a layer ({flops / alone / 1e6,4:F0} TFLOP/s), in the step {without,8:F2} µs");
            }
            model.Operations = Operations.All;
        }
    }
}
