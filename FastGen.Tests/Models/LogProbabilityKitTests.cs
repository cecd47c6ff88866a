using FastGen.Compute;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Log probabilities that the engine gives, against the log-softmax of the kit's logits at the end of each prompt.</summary>
public sealed class LogProbabilityKitTests
{
    public static IEnumerable<TestCaseData> Cases() =>
        from name in ConformanceKit.Folders("models")
        where name is null || File.Exists(Path.Combine(ConformanceKit.Root!, "models", name, "expected.json"))
        from backend in (IEnumerable<TestBackend>)[TestBackends.All[^1], TestBackends.Cuda]
        select Case(name, backend);

    [TestCaseSource(nameof(Cases))]
    public async Task Submit_PromptsOfTheKit_GiveTheLogSoftmaxOfItsLogits(string? folder, TestBackend backend)
    {
        string path = ConformanceKit.Folder("models", folder ?? "");
        ModelConfig config = Read(path);
        List<string> misses = [];
        foreach (GoldenConvention convention in GoldenConvention.All)
        {
            using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(path);
            if (convention.Apply(config, checkpoint.MainType) is not { } applied) continue;
            using IBackend device = backend.Create();
            if (await Miss(ModelLoader.Load(applied, checkpoint, device, new ModelLoadOptions()), ModelGoldens.Read(path)) is not { } miss) return;
            misses.Add($"{folder} on {backend}, {convention.Name}: {miss}");
        }
        Assert.Fail(string.Join(Environment.NewLine, misses));
    }

    // What is off; null where all is within twice the bound of the kit's logits: the sum's error adds to the logit's.
    private static async Task<string?> Miss(CausalLM model, IReadOnlyList<GoldenCase> cases)
    {
        bool exact = model.Backend.PrecisionFor(model.Shape.WeightType).Activation == DType.F32;
        using LlmEngine engine = new(model, [], new EngineOptions { TokenBudget = 32, CacheTokens = 2048, MaxSequences = 4 });
        SamplingParameters sampling = SamplingParameters.Greedy with { MaxNewTokens = 3, TopLogProbabilities = SamplingParameters.MaxTopLogProbabilities };
        GenerationRequest[] requests = [.. cases.Select(golden => engine.Submit(golden.Prompt, sampling))];
        TokenLogProbabilities[] first = new TokenLogProbabilities[1];
        for (int i = 0; i < requests.Length; i++)
        {
            await LlmEngineTests.Tokens(requests[i]);
            requests[i].CopyLogProbabilities(0, first);
            float[] logits = cases[i].Logits[^1];
            (TokenLogProbability chosen, IReadOnlyList<TokenLogProbability> top) = (first[0].Chosen, first[0].Top);
            Assert.That(top[0], Is.EqualTo(chosen), "Greedy takes the most likely.");
            Assert.That(top, Has.Count.EqualTo(Math.Min(SamplingParameters.MaxTopLogProbabilities, logits.Length)));
            double normalizer = Math.Log(logits.Sum(logit => Math.Exp(logit))), tolerance = (exact ? 4e-3 : 1e-1) * logits.Max(MathF.Abs);
            double error = top.Max(entry => Math.Abs(entry.LogProbability - (logits[entry.TokenId] - normalizer)));
            if (!(error <= tolerance)) return $"off by {error:E2} after the prompt of {cases[i].Prompt.Length} (bound {tolerance:E2})";
        }
        return null;
    }

    private static ModelConfig Read(string path)
    {
        try
        {
            return ModelConfig.Read(Path.Combine(path, "config.json"));
        }
        catch (UnsupportedModelException exception)
        {
            Assert.Ignore(exception.Message);
            throw;
        }
    }

    private static TestCaseData Case(string? name, TestBackend backend)
    {
        TestCaseData data = new TestCaseData(name, backend).SetArgDisplayNames(name ?? "no kit", backend.Name);
        return backend == TestBackends.Cuda ? data.SetCategory("Cuda") : data;
    }
}
