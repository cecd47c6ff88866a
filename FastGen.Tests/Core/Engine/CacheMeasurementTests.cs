using FastGen.Compute;
using FastGen.Kernels;
using FastGen.Kernels.Cpu;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>A cache whose size is not given comes last, after the largest steps.</summary>
public sealed class CacheMeasurementTests
{
    private const string Llama =
        """{"architectures": ["LlamaForCausalLM"], "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}""";

    private const string Mistral =
        """{"architectures": ["MistralForCausalLM"], "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "sliding_window": 40}""";

    private const string Mixtral =
        """{"architectures": ["MixtralForCausalLM"], "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "num_local_experts": 4, "num_experts_per_tok": 2}""";

    private const string QwenMoe =
        """{"architectures": ["Qwen3MoeForCausalLM"], "vocab_size": 96, "hidden_size": 32, "intermediate_size": 64, "moe_intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16, "max_position_embeddings": 256, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": true}""";

    // Sequences and budget, then the largest step of prompts and that of decodes.
    [TestCase(8, 512, "8 of 512", "8 of 8")]
    [TestCase(8, 64, "1 of 64", "8 of 8")]
    [TestCase(8, 100, "1 of 100", "8 of 8")]
    [TestCase(2, 512, "2 of 512", "2 of 2")]
    [TestCase(2, 600, "2 of 512", "2 of 2")]
    [TestCase(20, 16, "1 of 16", "16 of 16")]
    [TestCase(1, 300, "1 of 256", "1 of 1")]
    [TestCase(3, null, "3 of 256", "3 of 3")]
    public void Engine_NoSizeGiven_RunsTheLargestStepsThenAsks(int sequences, int? budget, string prompts, string decodes)
    {
        EngineOptions options = new() { MaxSequences = sequences, TokenBudget = budget, Scheduler = new SchedulerOptions { SplitFuse = budget is not null } };
        List<string> calls = Load(Llama, compiles: true, options, out _);
        Assert.That(calls.Take(8), Is.EqualTo((string[])["Prepare", "Allocate", "AllocateKvLayer", prompts, decodes, "FreeKvLayer", "DefaultCacheBytes", "AllocateKvLayer"]));
        Assert.That(calls.Skip(8).Where(call => !IsStep(call)), Is.Empty, "Only steps come after the cache.");
    }

    [TestCase(1024, null)]
    [TestCase(null, 1 << 20)]
    public void Engine_SizeGiven_AsksAndFreesNothing(int? tokens, int? bytes)
    {
        List<string> calls = Load(Llama, compiles: true, new EngineOptions { MaxSequences = 8, TokenBudget = 512, CacheTokens = tokens, CacheBytes = bytes }, out long cacheBytes);
        Assert.That(calls.Take(4), Is.EqualTo((string[])["Prepare", "Allocate", "AllocateKvLayer", "1 of 1"]));
        Assert.That(calls.Skip(3).Where(call => !IsStep(call)), Is.Empty);
        // A token has 2 layers of keys and values of 2 heads of 8 columns, F32.
        Assert.That(cacheBytes, Is.EqualTo(bytes ?? tokens * 2 * 2 * 2 * 8 * sizeof(float)));
    }

    [Test]
    public void Engine_BackendThatCompilesNothing_RunsNoStepBeforeItAsks() => Assert.That(
        Load(Llama, compiles: false, new EngineOptions { MaxSequences = 8, TokenBudget = 512 }, out _), Is.EqualTo((string[])["Prepare", "Allocate", "DefaultCacheBytes", "AllocateKvLayer"]));

    [TestCase(nameof(Llama))]
    [TestCase(nameof(Mistral))]
    [TestCase(nameof(Mixtral))]
    [TestCase(nameof(QwenMoe))]
    public async Task Engine_CacheMeasured_GivesTheSameTokens(string model)
    {
        string config = model switch { nameof(Llama) => Llama, nameof(Mistral) => Mistral, nameof(Mixtral) => Mixtral, _ => QwenMoe };
        List<int>[] expected = await Tokens(new EngineOptions { MaxSequences = 4, TokenBudget = 32, CacheTokens = 1024 }, compiles: false);
        Assert.That(await Tokens(new EngineOptions { MaxSequences = 4, TokenBudget = 32 }, compiles: true), Is.EqualTo(expected));
        Assert.That(await Tokens(new EngineOptions { MaxSequences = 4, Scheduler = new SchedulerOptions { SplitFuse = false } }, compiles: true), Is.EqualTo(expected));

        async Task<List<int>[]> Tokens(EngineOptions options, bool compiles)
        {
            using ObservedBackend backend = new(new CheckedBackend(CpuBackend.Create(threads: 2))) { CompilesSteps = compiles };
            using LlmEngine engine = new(Model(config, backend), [], options);
            return await Task.WhenAll(Enumerable.Range(1, 6).Select(i => LlmEngineTests.Tokens(engine.Submit([.. Enumerable.Range(1, 9 * i)], SamplingParameters.Greedy with { MaxNewTokens = 12 }))));
        }
    }

    [TestCase(1)]
    [TestCase(2)]
    public void Engine_LargestStepFails_SaysWhyAndMakesNoCache(int failing)
    {
        List<string> calls = [];
        using ObservedBackend backend = Observed(calls, compiles: true, step =>
        {
            if (step == failing) throw new InsufficientMemoryException("no room for scratch");
        });
        Assert.That(() => new LlmEngine(Model(Llama, backend), [], new EngineOptions { MaxSequences = 8, TokenBudget = 512 }), Throws.TypeOf<InsufficientMemoryException>().With.Message.EqualTo("no room for scratch"));
        Assert.That(calls.Count(IsStep), Is.EqualTo(failing));
        Assert.That(calls, Has.None.EqualTo("DefaultCacheBytes"));
    }

    [TestCase(1)]
    [TestCase(2)]
    public void Engine_CancelledInTheLargestSteps_EndsWithTheStepThatRuns(int last)
    {
        using CancellationTokenSource source = new();
        int steps = 0;
        using ObservedBackend backend = Observed([], compiles: true, step =>
        {
            steps = step;
            if (step == last) source.Cancel();
        });
        Assert.That(() => new LlmEngine(Model(Llama, backend), [], new EngineOptions { MaxSequences = 8, TokenBudget = 512 }, cancellationToken: source.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(steps, Is.EqualTo(last));
    }

    [Test]
    public void Engine_LessThanABlockIsLeft_SaysHowMuch() => Assert.That(
        () => new LlmEngine(new NullModel(new NullBackend { DefaultCacheBytes = 9 }), []), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("gets 9 bytes").And.Message.Contains("free memory"));

    private static CausalLM Model(string config, IBackend backend) => ModelLoader.Load(ModelConfig.Parse(config), new RandomCheckpoint(DType.F32, 1), backend, new ModelLoadOptions());

    private static bool IsStep(string call) => call.Contains(" of ", StringComparison.Ordinal);

    // Calls that concern memory, each once where it comes several times in a row, and steps: how many sequences of how many tokens.
    private static List<string> Load(string config, bool compiles, EngineOptions options, out long cacheBytes)
    {
        List<string> calls = [];
        using ObservedBackend backend = Observed(calls, compiles, _ => { });
        CausalLM model = Model(config, backend);
        calls.Clear();
        using LlmEngine engine = new(model, [], options);
        cacheBytes = engine.CacheBytes;
        return [.. calls];
    }

    private static ObservedBackend Observed(List<string> calls, bool compiles, Action<int> submitting)
    {
        int steps = 0;
        return new ObservedBackend(new CheckedBackend(CpuBackend.Create(threads: 2)))
        {
            CompilesSteps = compiles,
            Taking = Note,
            Submitting = batch =>
            {
                Note($"{batch.SequenceCount} of {batch.TokenCount}");
                submitting(++steps);
            },
        };

        void Note(string call)
        {
            if (calls.Count == 0 || calls[^1] != call) calls.Add(call);
        }
    }
}
