using System.Diagnostics;
using System.Globalization;
using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Benchmarks.Cuda;

/// <summary>
/// Decode and prompts of published shapes against their limits, each model wired by its family's own layers: `cuda --shape mixtral|phi2
/// [--sequences N,…] [--decode]`. A step's limit is its bytes at the rate of reading: weights, of experts those that have visits if choices
/// are even, and the cache; a prompt's its operations at cuBLASLt's rate.
/// </summary>
internal static class ModelBenchmark
{
    private const int BlockSize = 16;
    private const int Context = 512;
    private const int DecodeSteps = 64;

    private static readonly Dictionary<string, (string Shape, string Title, int MaxContext, int CachedTokens, (int Prompts, int Length)[] Prompts)> Shapes = new()
    {
        ["mixtral"] = ("mixtral-8x7b", "Mixtral-8x7B", 4096, 110_000, [(1, 512), (1, 2048), (16, 2048)]),
        ["phi2"] = ("phi-2", "Phi-2", 2048, 110_000, [(1, 512), (1, 2040), (16, 2040)]),
    };

    public static bool Serves(string shape) => Shapes.ContainsKey(shape);

    public static void Run(string name, string[] args, CudaOptions options, double readRate, double productRate)
    {
        (string config, string title, int maxContext, int cachedTokens, (int, int)[] prompts) = Shapes[name];
        using CudaBackend backend = new(options: options);
        long start = Stopwatch.GetTimestamp();
        CausalLM model = DeviceFilledModel.Load(backend, config);
        ModelShape shape = model.Shape;
        StepRunner runner = new(backend, model, new StepLimits(8192, 128, BlockSize, maxContext / BlockSize), cachedTokens);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {title} made in {Stopwatch.GetElapsedTime(start).TotalSeconds:F1} s"));
        int[] counts = CudaBenchmark.Option(args, "--sequences") is { } list ? [.. list.Split(',').Select(text => int.Parse(text, CultureInfo.InvariantCulture))] : [1, 8, 32, 64, 128];
        foreach (int sequences in counts)
        {
            runner.Prefill(sequences, Context);
            runner.Decode(sequences, 6);
            runner.Rewind(sequences, Context);
            double seconds = runner.Decode(sequences, DecodeSteps) / DecodeSteps;
            double bytes = WeightBytes(shape, Touched(shape, sequences)) + (sequences * (Context + (DecodeSteps / 2.0)) * shape.CacheValuesPerToken * 2);
            CudaBenchmark.Record($"{title}, decode of {sequences}, context {Context}", sequences / seconds, sequences * readRate / bytes, "tok/s");
        }
        if (args.Contains("--decode")) return;
        foreach ((int count, int length) in prompts)
        {
            runner.Prefill(count, length);
            int repeats = Math.Max(1, 16384 / (count * length));
            double seconds = 0;
            for (int i = 0; i < repeats; i++) seconds += runner.Prefill(count, length);
            double operations = WeightBytes(shape, shape.ExpertsPerToken) - (2.0 * shape.VocabularySize * shape.HiddenSize) + (2.0 * shape.Layers * shape.Heads * shape.HeadDim * length);
            CudaBenchmark.Record($"{title}, {count} × prompt of {length}", count * length * repeats / seconds, productRate / operations, "tok/s");
        }
    }

    // Of BF16 weights that a step reads; as many operations as a token takes.
    private static double WeightBytes(ModelShape shape, double experts)
    {
        long attention = (long)shape.HiddenSize * (shape.QkvColumns + (shape.Heads * shape.HeadDim));
        double feedForward = shape.Experts > 0 ? experts * 3 * shape.HiddenSize * shape.ExpertColumns : 2.0 * shape.HiddenSize * shape.MlpColumns;
        return 2 * ((shape.Layers * (attention + feedForward)) + ((double)shape.VocabularySize * shape.HiddenSize));
    }

    // Experts that have visits where all choices are as likely.
    private static double Touched(ModelShape shape, int rows) =>
        shape.Experts == 0 ? 0 : shape.Experts * (1 - Math.Pow(1 - ((double)shape.ExpertsPerToken / shape.Experts), rows));
}
