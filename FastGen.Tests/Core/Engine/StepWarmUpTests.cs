using FastGen.Compute;
using FastGen.Kernels.Cpu;
using FastGen.Models;

namespace FastGen.Tests;

public sealed class StepWarmUpTests
{
    private const string Config =
        """{"architectures": ["LlamaForCausalLM"], "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}""";

    [TestCase(20, 64, new[] { 1, 2, 4, 8, 16, 20 })]
    [TestCase(5, 64, new[] { 1, 2, 4, 5 })]
    [TestCase(1, 64, new[] { 1 })]
    [TestCase(16, 6, new[] { 1, 2, 4, 6 })]
    public void Run_BackendThatCompilesSteps_RunsDecodesOfAllSizes(int sequences, int budget, int[] expected)
    {
        List<(int Sequences, int Tokens)> steps = Load(compiles: true, sequences, budget).Steps;
        Assert.That(steps.Where(step => step.Sequences == step.Tokens).Select(step => step.Sequences).Distinct(), Is.EquivalentTo(expected));
        Assert.That(steps.Exists(step => step.Sequences > 1 && step.Tokens > step.Sequences), Is.EqualTo(sequences > 1), "A chunk beside decodes.");
    }

    [TestCase(64, new[] { 64 })]
    [TestCase(250, new[] { 128, 250 })]
    [TestCase(1000, new[] { 128, 256 })]
    public void Run_BackendThatCompilesSteps_RunsPromptsUpToTheBudgetOrTheContext(int budget, int[] expected)
    {
        List<(int Sequences, int Tokens)> steps = Load(compiles: true, sequences: 1, budget).Steps;
        Assert.That(steps.Where(step => step.Tokens > step.Sequences).Select(step => step.Tokens), Is.EqualTo(expected));
    }

    [Test]
    public void Run_OtherBackend_RunsNothing() => Assert.That(Load(compiles: false, 20, 64).Steps, Is.Empty);

    [Test]
    public void Run_ThenRequests_GiveTheSame() => Assert.That(Load(compiles: true, 8, 32).Tokens, Is.EqualTo(Load(compiles: false, 8, 32).Tokens));

    [TestCase(true, 64)]
    [TestCase(true, null)]
    [TestCase(false, null)]
    public void Run_Cancelled_EndsWithTheStepThatRuns(bool compiles, int? budget)
    {
        for (int last = 1; last < 12; last += 5)
        {
            using CancellationTokenSource source = new();
            int steps = 0;
            using ObservedBackend backend = new(CpuBackend.Create(threads: 2))
            {
                CompilesSteps = compiles,
                Submitting = _ =>
                {
                    if (++steps == last) source.Cancel();
                },
            };
            CausalLM model = ModelLoader.Load(ModelConfig.Parse(Config), new RandomCheckpoint(DType.F32, 1), backend, new ModelLoadOptions());
            Assert.That(() => new LlmEngine(model, [], new EngineOptions { TokenBudget = budget, CacheTokens = 2048, MaxSequences = 8 }, cancellationToken: source.Token), Throws.InstanceOf<OperationCanceledException>());
            Assert.That(steps, Is.EqualTo(last));
        }
    }

    private static (List<(int Sequences, int Tokens)> Steps, List<int>[] Tokens) Load(bool compiles, int sequences, int budget)
    {
        List<(int Sequences, int Tokens)> steps = [];
        using ObservedBackend backend = new(CpuBackend.Create(threads: 2)) { CompilesSteps = compiles, Submitting = batch => steps.Add((batch.SequenceCount, batch.TokenCount)) };
        CausalLM model = ModelLoader.Load(ModelConfig.Parse(Config), new RandomCheckpoint(DType.F32, 1), backend, new ModelLoadOptions());
        using LlmEngine engine = new(model, [], new EngineOptions { TokenBudget = budget, CacheTokens = 2048, MaxSequences = sequences });
        List<(int, int)> warmUp = [.. steps];
        GenerationRequest[] requests = [.. Enumerable.Range(1, 6).Select(i => engine.Submit([.. Enumerable.Range(1, 9 * i)], SamplingParameters.Greedy with { MaxNewTokens = 12 }))];
        return (warmUp, [.. requests.Select(request => LlmEngineTests.Tokens(request).GetAwaiter().GetResult())]);
    }
}
