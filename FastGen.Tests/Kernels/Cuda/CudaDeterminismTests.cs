using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>With <see cref="CudaOptions.Deterministic"/> a row's results are the same bits whatever shares its step.</summary>
[TestFixture]
public sealed class CudaDeterminismTests : CudaFixture
{
    private const string Dense =
        """{"architectures": ["LlamaForCausalLM"], "vocab_size": 2048, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 512}""";

    private const string Windowed =
        """{"architectures": ["MistralForCausalLM"], "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 128, "max_position_embeddings": 512, "sliding_window": 50}""";

    private const string Sparse =
        """{"architectures": ["MixtralForCausalLM"], "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": 2, "max_position_embeddings": 512}""";

    private static readonly int[] RowCounts = [1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 33, 64, 65, 100, 127, 128, 129, 200, 256, 300];

    private static readonly (int Outputs, int Columns)[] Shapes = [(512, 512), (3072, 1024), (1536, 4096), (40000, 256), (264, 136), (130, 72)];

    private protected override CudaBackend MakeBackend() => new(options: new CudaOptions { Deterministic = true });

    [Test]
    public void Linear_AnyNumberOfRows_GivesARowTheSameBits([ValueSource(nameof(Types))] DType type, [ValueSource(nameof(Shapes))] (int Outputs, int Columns) shape, [Values] bool gated)
    {
        (int outputs, int columns) = shape;
        Tensor weight = Cuda.AllocateWeights(type, outputs, columns), input = Cuda.Allocate(DType.F32, RowCounts[^1], columns), output = Cuda.Allocate(DType.F32, RowCounts[^1], gated ? outputs / 2 : outputs);
        NormWeights norm = new(NormKind.Rms, Vector(columns, 0.3f, 1).Cuda, null, 1e-5f);
        Upload(weight, 1 / MathF.Sqrt(columns));
        Upload(input, 1);
        float[]? expected = null;
        foreach (int rows in RowCounts)
        {
            LinearInput given = new(input.WithRows(rows), norm);
            if (gated) Cuda.GatedLinear(output.WithRows(rows), given, new LinearWeights(weight), Activation.Silu);
            else Cuda.Linear(output.WithRows(rows), given, new LinearWeights(weight));
            float[] values = Read(Cuda, output.WithRows(rows));
            // The longest run so far holds all rows of the shorter ones.
            if (expected is not null) Assert.That(values.AsSpan(0, expected.Length).SequenceEqual(expected), $"{rows} rows");
            expected = values;
        }
        Assert.That(expected!.Max(MathF.Abs), Is.GreaterThan(0.01f));
    }

    [Test]
    public async Task Generate_AloneBatchedChunkedRestartedRecordedOrNot_GivesTheSameBits([Values(Dense, Windowed, Sparse)] string config, [Values(DType.BF16, DType.F16, DType.F32)] DType type)
    {
        EngineOptions large = new() { TokenBudget = 512, CacheTokens = 16384, MaxSequences = 32 };
        List<string> alone = await Run(config, type, large, graphs: true, together: false);
        Assert.That(alone.Distinct().Count(), Is.GreaterThan(alone.Count / 2));
        foreach ((string name, EngineOptions options, bool graphs) in ((string, EngineOptions, bool)[])
        [
            ("batched", large, true), ("not recorded", large, false), ("chunks", large with { TokenBudget = 16 }, true),
            ("restarted", large with { TokenBudget = 100, CacheTokens = 640, Watermark = 0 }, true),
        ])
        {
            List<string> together = await Run(config, type, options, graphs, together: true);
            for (int i = 0; i < alone.Count; i++) Assert.That(together[i], Is.EqualTo(alone[i]), $"request {i}, {name}");
        }
    }

    // What each request gave: ids and the bits of their log probabilities.
    private static async Task<List<string>> Run(string config, DType type, EngineOptions options, bool graphs, bool together)
    {
        const int Requests = 24;
        using CudaBackend backend = new(options: new CudaOptions { Deterministic = true, UseGraphs = graphs });
        CausalLM model = ModelLoader.Load(ModelConfig.Parse(config), new RandomCheckpoint(type, 1), backend, new ModelLoadOptions());
        using LlmEngine engine = new(model, [], options);
        List<string> results = [];
        List<GenerationRequest> requests = [];
        for (int i = 0; i < Requests; i++)
        {
            int[] prompt = [.. Enumerable.Range(0, 1 + (i * 41 % 173)).Select(k => (i * 7 + k * 13) % 1000)];
            requests.Add(engine.Submit(prompt, new SamplingParameters { Temperature = 0.7f, Seed = (ulong)i, MaxNewTokens = 20 + i, TopLogProbabilities = 5 }));
            if (!together) await LlmEngineTests.Tokens(requests[i]);
        }
        foreach (GenerationRequest request in requests)
        {
            List<int> tokens = await LlmEngineTests.Tokens(request);
            TokenLogProbabilities[] entries = new TokenLogProbabilities[tokens.Count];
            request.CopyLogProbabilities(0, entries);
            results.Add(string.Join(' ', entries.SelectMany(entry => (TokenLogProbability[])[entry.Chosen, .. entry.Top]).Select(entry => $"{entry.TokenId}:{BitConverter.SingleToUInt32Bits(entry.LogProbability):x8}")));
        }
        TestContext.Out.WriteLine($"{engine.Statistics.Steps} steps, {engine.Statistics.Preemptions} restarts");
        return results;
    }

    private void Upload(Tensor tensor, float scale) =>
        Cuda.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(Values(DType.F32, tensor.Rows * tensor.Columns, scale)), DType.F32, tensor);
}
