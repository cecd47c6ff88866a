using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Products;

namespace FastGen.Benchmarks.Cuda;

/// <summary>
/// What the device can do and what steps of two model shapes reach of it, in one run:
/// `cuda [--json FILE] [--shape llama|qwen|mixtral|phi2] [--detail] [--decode] [--prompts] [--few ROWS] [--skinny ROWS] [--tile-use SHARE] [--deterministic]`. --decode leaves
/// the prompts out, --prompts takes them apart (every kernel of a chunk against its limit), --detail does so with decode steps, --few and --skinny set the rows up to which decodes' two kernels serve, --tile-use
/// the share of its tiles that a product of many rows has to fill for our own kernel to take it (0: all that it can, 2: none, cuBLASLt computes them).
/// `cuda --products`, `--gaps`, `--experts`, `--attention`, `--sampling` and `--upload [GIGABYTES]` are measurements of their own; `cuda --compile` needs no GPU.
/// Weights are random; greedy; token ids in and out, no tokenizer and no scheduler.
/// </summary>
public static class CudaBenchmark
{
    private const int MaxContext = 8192;
    private const int BlockSize = 16;
    private const int DecodeSteps = 64;
    private const long BytesRead = 4L << 30;

    private static CudaOptions _options = new();
    private static readonly List<(string Name, double Value, double Limit, string Unit)> Lines = [];

    /// <summary>Runs the benchmark; returns the exit code.</summary>
    public static int Run(string[] args)
    {
        CudaProbe probe = CudaBackend.Probe();
        Console.WriteLine(probe);
        if (args.Contains("--compile") && probe.Libraries[1].Path is not null) return CompileBenchmark.Run(Option(args, "--shape") ?? "llama3-8b", Option(args, "--device") ?? "H200", args.Contains("--detail"));
        if (!probe.IsUsable) return 1;
        if (args.Contains("--upload")) return UploadBenchmark.Run(double.Parse(Option(args, "--upload") ?? "8", CultureInfo.InvariantCulture));
        if (args.Contains("--sampling")) return SamplingBenchmark.Run();
        string? json = Option(args, "--json"), shape = Option(args, "--shape");
        bool detail = args.Contains("--detail");
        _options = new CudaOptions { Deterministic = args.Contains("--deterministic") };
        if (Option(args, "--skinny") is { } rows) _options = _options with { SkinnyRows = int.Parse(rows, CultureInfo.InvariantCulture) };
        if (Option(args, "--few") is { } few) _options = _options with { FewRows = int.Parse(few, CultureInfo.InvariantCulture) };
        if (Option(args, "--tile-use") is { } use) _options = _options with { LeastTileUse = double.Parse(use, CultureInfo.InvariantCulture) };
        if (args.Contains("--products"))
        {
            ProductBenchmark.Run([.. (Option(args, "--rows") ?? "1,8,16,32,64,128").Split(',').Select(text => int.Parse(text, CultureInfo.InvariantCulture))], Option(args, "--only"));
            return 0;
        }
        if (args.Contains("--gaps"))
        {
            GapBenchmark.Run(_options, shape);
            return 0;
        }
        if (Option(args, "--kernel") is { } kernel) _options = _options with { ExpertKernel = Enum.Parse<ExpertKernel>(kernel) };
        if (args.Contains("--experts"))
        {
            ExpertBenchmark.Run(_options, [.. (Option(args, "--rows") ?? "1,2,4,8,16,32,48,64,96,128,256,512,2048,8192").Split(',').Select(text => int.Parse(text, CultureInfo.InvariantCulture))]);
            return 0;
        }
        if (args.Contains("--attention"))
        {
            AttentionBenchmark.Run();
            return 0;
        }
        double readRate, productRate;
        using (CudaBackend backend = new(options: new CudaOptions { LeastTileUse = 2 })) (readRate, productRate) = MeasureLimits(backend);
        if (args.Contains("--prompts"))
        {
            foreach (LlamaShape each in (LlamaShape[])[LlamaShape.Llama8B, LlamaShape.Qwen06B]) if (shape is null || each.Name.StartsWith(shape, StringComparison.OrdinalIgnoreCase)) PromptBenchmark.Run(each, _options, readRate);
            return 0;
        }
        if (shape is not null && ModelBenchmark.Serves(shape)) ModelBenchmark.Run(shape, args, _options, readRate, productRate);
        if (shape is null or "llama") MeasureLlama(readRate, args.Contains("--decode") ? 0 : productRate, detail);
        if (shape is null or "qwen") MeasureQwen(readRate, args.Contains("--decode") ? 0 : productRate, detail);
        Console.WriteLine();
        foreach ((string name, double value, double limit, string unit) in Lines)
        {
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name,-58} {value,12:N1} {unit,-8} {(limit > 0 ? $"limit {limit,10:N0} ({value / limit:P0})" : "")}"));
        }
        if (json is not null) Write(json, probe);
        return 0;
    }

    internal static string? Option(string[] args, string name)
    {
        int at = Array.IndexOf(args, name);
        return at >= 0 && at + 1 < args.Length ? args[at + 1] : null;
    }

    private static (double ReadRate, double ProductRate) MeasureLimits(CudaBackend backend)
    {
        const int Columns = 4096, Rows = 1 << 17;
        double readRate = backend.MeasureReadRate(BytesRead);
        Record("read bandwidth", readRate / 1e12, 0, "TB/s");
        Tensor weights = backend.AllocateWeights(DType.BF16, Rows, Columns), one = backend.Allocate(DType.F32, 1, 1);
        float[] value = new float[1];
        double best = 0;
        foreach (int rows in (int[])[512, 2048, 8192])
        {
            double flops = 0, seconds = 0;
            foreach ((int outputs, int inputs) in ((int, int)[])[(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)])
            {
                Tensor matrix = new(weights.Data, DType.BF16, outputs, inputs), x = backend.Allocate(DType.BF16, rows, inputs), y = backend.Allocate(DType.BF16, rows, outputs);
                FillRandom(backend, matrix);
                FillRandom(backend, x);
                double time = Time(20, () => backend.Linear(y, new LinearInput(x), new LinearWeights(matrix)), () => backend.Download(one, value));
                flops += 2.0 * rows * outputs * inputs;
                seconds += time;
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  cuBLASLt {rows} × {outputs} × {inputs}: {2.0 * rows * outputs * inputs / time / 1e12:F0} TFLOP/s"));
            }
            Record($"cuBLASLt, the four products of a Llama-3-8B layer, {rows} rows", flops / seconds / 1e12, 0, "TFLOP/s");
            best = Math.Max(best, flops / seconds);
        }
        return (readRate, best);
    }

    internal static void FillRandom(CudaBackend backend, Tensor tensor, float scale = 1 / 16f)
    {
        byte[] bytes = new byte[2 * 1048576];
        Random random = new(3);
        Span<ushort> values = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ushort>(bytes.AsSpan());
        for (int i = 0; i < values.Length; i++) values[i] = (ushort)(BitConverter.SingleToUInt32Bits((random.NextSingle() - 0.5f) * scale) >> 16);
        int rows = bytes.Length / (2 * tensor.Columns);
        for (int row = 0; row < tensor.Rows; row += rows) backend.Upload(bytes.AsSpan(0, 2 * tensor.Columns * Math.Min(rows, tensor.Rows - row)), DType.BF16, tensor, row);
    }

    // Seconds of one, from enough of them in a row.
    internal static double Time(int count, Action queue, Action wait)
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

    private static void MeasureLlama(double readRate, double productRate, bool detail)
    {
        LlamaShape shape = LlamaShape.Llama8B;
        using CudaBackend backend = new(options: _options);
        long start = Stopwatch.GetTimestamp();
        LlamaShapedModel model = new(backend, shape, MaxContext);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  weights uploaded at {shape.WeightBytes / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9:F1} GB/s"));
        StepRunner runner = new(backend, model, new StepLimits(8192, 128, BlockSize, MaxContext / BlockSize), cachedTokens: 150_000);
        foreach ((int sequences, int context) in ((int, int)[])[(1, 512), (8, 512), (32, 512), (64, 512), (128, 512), (64, 1024), (32, 4000)]) Decode(runner, shape, sequences, context, readRate);
        if (productRate > 0)
        {
            foreach ((int prompts, int length) in ((int, int)[])[(1, 512), (1, 2048), (16, 2048), (4, 8000)]) Prompt(runner, shape, prompts, length, productRate);
            double seconds = runner.Prefill(128, 600) + runner.Decode(128, 127);
            Record($"{shape.Name}, 128 requests of 600 → 128 at once, generated", 128 * 128 / seconds, 0, "tok/s");
        }
        if (detail)
        {
            foreach ((string kernel, int registers, int localBytes) in backend.KernelResources) Console.WriteLine($"  {registers} registers, {localBytes} bytes spilled: {kernel}");
            foreach (int sequences in (int[])[1, 8, 64, 128]) Detail(backend, shape, model, runner, sequences, 512, readRate);
        }
    }

    private static void MeasureQwen(double readRate, double productRate, bool detail)
    {
        LlamaShape shape = LlamaShape.Qwen06B;
        using CudaBackend backend = new(options: _options);
        LlamaShapedModel model = new(backend, shape, MaxContext);
        StepRunner runner = new(backend, model, new StepLimits(8192, 64, BlockSize, MaxContext / BlockSize), cachedTokens: 60_000);
        foreach (int sequences in (int[])[1, 8, 64]) Decode(runner, shape, sequences, 512, readRate);
        if (productRate > 0)
        {
            foreach ((int prompts, int length) in ((int, int)[])[(1, 512), (1, 2048), (16, 2048)]) Prompt(runner, shape, prompts, length, productRate);
        }
        if (detail)
        {
            foreach (int sequences in (int[])[1, 8, 64]) Detail(backend, shape, model, runner, sequences, 512, readRate);
        }
    }

    private static void Decode(StepRunner runner, LlamaShape shape, int sequences, int context, double readRate)
    {
        runner.Prefill(sequences, context);
        runner.Decode(sequences, 6);
        runner.Rewind(sequences, context);
        double seconds = runner.Decode(sequences, DecodeSteps) / DecodeSteps;
        double limit = sequences * readRate / (shape.WeightBytes + (sequences * (context + (DecodeSteps / 2.0)) * shape.CacheBytesPerToken));
        Record($"{shape.Name}, decode of {sequences}, context {context}", sequences / seconds, limit, "tok/s");
    }

    private static void Prompt(StepRunner runner, LlamaShape shape, int prompts, int length, double productRate)
    {
        runner.Prefill(prompts, length);
        int repeats = Math.Max(1, 16384 / (prompts * length));
        double seconds = 0;
        for (int i = 0; i < repeats; i++) seconds += runner.Prefill(prompts, length);
        double flops = ((double)shape.FlopsPerToken * length) + (2.0 * shape.Layers * shape.Heads * shape.HeadDim * length * (double)length);
        Record($"{shape.Name}, {prompts} × prompt of {length}", prompts * length * repeats / seconds, productRate * length / flops, "tok/s");
    }

    // Each part of a step alone, as a recorded step of its own; the difference to an empty one, for each layer. A decode's attention stores what is new by itself.
    private static void Detail(CudaBackend backend, LlamaShape shape, LlamaShapedModel model, StepRunner runner, int sequences, int context, double readRate)
    {
        double Microseconds(Operations operations)
        {
            model.Operations = operations;
            backend.ForgetRecordings();
            runner.Rewind(sequences, context);
            runner.Decode(sequences, 6);
            runner.Rewind(sequences, context);
            return runner.Decode(sequences, 32) / 32 * 1e6;
        }
        runner.Prefill(sequences, context);
        double empty = Microseconds(Operations.None), all = Microseconds(Operations.All);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"\n{shape.Name}, decode of {sequences}, context {context}: {all:F0} µs a step, {empty:F0} µs an empty one"));
        long h = shape.Hidden;
        foreach ((Operations operation, double bytes, int times) in ((Operations, double, int)[])
        [
            (Operations.Qkv, 2.0 * h * shape.QkvColumns, shape.Layers), (Operations.Store | Operations.Attention, (double)sequences * context * shape.CacheBytesPerToken / shape.Layers, shape.Layers),
            (Operations.Out, 2.0 * h * shape.Heads * shape.HeadDim, shape.Layers), (Operations.GateUp, 4.0 * h * shape.Mlp, shape.Layers), (Operations.Down, 2.0 * h * shape.Mlp, shape.Layers),
            (Operations.Head, 2.0 * h * shape.Vocabulary, 1), (Operations.Ends, 0, 1), (Operations.Sample, 0, 1),
        ])
        {
            double alone = (Microseconds(operation) - empty) / times, without = (all - Microseconds(Operations.All & ~operation)) / times;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {operation,-16} alone {alone,8:F2} µs, in the step {without,8:F2} µs, limit {bytes / readRate * 1e6,8:F2} µs"));
        }
        model.Operations = Operations.All;
        backend.ForgetRecordings();
    }

    internal static void Record(string name, double value, double limit, string unit)
    {
        Lines.Add((name, value, limit, unit));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {value:N1} {unit}{(limit > 0 ? $" ({value / limit:P0} of {limit:N0})" : "")}"));
    }

    private static void Write(string path, CudaProbe probe)
    {
        using FileStream file = File.Create(path);
        using Utf8JsonWriter writer = new(file, new JsonWriterOptions { Indented = true });
        writer.WriteStartObject();
        writer.WriteString("device", probe.Devices[0].Name);
        foreach (CudaLibraryInfo library in probe.Libraries) writer.WriteString(library.Name, library.Version?.ToString());
        writer.WriteString("date", DateTime.UtcNow.ToString("O", CultureInfo.InvariantCulture));
        writer.WriteStartArray("lines");
        foreach ((string name, double value, double limit, string unit) in Lines)
        {
            writer.WriteStartObject();
            writer.WriteString("name", name);
            writer.WriteNumber("value", value);
            writer.WriteString("unit", unit);
            if (limit > 0) writer.WriteNumber("limit", limit);
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
        writer.WriteEndObject();
    }
}
