using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>A cache whose size is not given takes what the largest steps leave of the device, and later steps find room beside it.</summary>
[Category("Cuda")]
public sealed class CudaCacheMeasurementTests
{
    private const long Megabyte = 1 << 20, Gigabyte = 1 << 30;

    // What steps may take later that the largest two do not: partial results of shared attention.
    private const long LaterScratch = 64 * Megabyte;

    // Small weights, and so many bytes a token that its sequences could use more than any device has: the memory alone decides.
    private const string Llama = """
        {"architectures": ["LlamaForCausalLM"], "vocab_size": 4096, "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 32,
         "num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 131072}
        """;

    private const string QwenMoe = """
        {"architectures": ["Qwen3MoeForCausalLM"], "vocab_size": 4096, "hidden_size": 512, "intermediate_size": 1024, "moe_intermediate_size": 256, "num_hidden_layers": 4,
         "num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 131072, "num_experts": 16, "num_experts_per_tok": 4, "norm_topk_prob": true}
        """;

    [OneTimeSetUp]
    public void RequireDevice()
    {
        CudaProbe probe = CudaBackend.Probe();
        if (!probe.IsUsable) Assert.Ignore(probe.Failure!);
    }

    [Test]
    public async Task Engine_WholeDevice_LeavesTheReserveAndRunsTheLargestSteps()
    {
        using CudaDevice device = new(0);
        using Measured measured = new(Llama, new EngineOptions());
        (long free, long total) = Memory(device);
        long reserve = CudaBackend.ReserveBytes(total), later = LaterBytes(new EngineOptions().MaxSequences);
        await measured.RunLargestSteps();
        long freeAfter = Memory(device).Free;
        string figures = $"cache {measured.Engine.CacheBytes / Megabyte:N0} MiB, reserve {reserve / Megabyte:N0}, free {free / Megabyte:N0} after load and {freeAfter / Megabyte:N0} after the largest steps";
        TestContext.Out.WriteLine(figures);
        using (Pipeline beside = Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Device = ComputeDevice.Cuda(), Engine = new EngineOptions { TokenBudget = 256 } }))
        {
            Assert.That(beside.Generate("Once upon a time", SamplingParameters.Greedy with { MaxNewTokens = 8, IgnoreEndOfSequence = true }).TokenIds, Has.Count.EqualTo(8), "A small engine fits beside.");
        }
        measured.AssertTakesNoMore(later);
        if ((free > reserve + later + LaterScratch || freeAfter < reserve / 2) && IsDisturbed(device)) Assert.Ignore($"Other programs take and free memory of the device meanwhile: {figures}");
        Assert.That(free, Is.LessThanOrEqualTo(reserve + later + LaterScratch), "Nothing is wasted.");
        Assert.That(freeAfter, Is.GreaterThan(reserve / 2), "Recordings and modules leave room.");
    }

    [Test]
    public void Engine_OneAfterTheOther_GetAsMuch()
    {
        using CudaDevice device = new(0);
        long[] caches = new long[3];
        for (int i = 0; i < caches.Length; i++)
        {
            using Measured measured = new(Llama, new EngineOptions());
            caches[i] = measured.Engine.CacheBytes;
        }
        string figures = string.Join(", ", caches.Select(bytes => $"{bytes / Megabyte:N0} MiB"));
        TestContext.Out.WriteLine(figures);
        // The first loads what CUDA's libraries keep for the process.
        if (Math.Abs(caches[1] - caches[2]) >= 128 * Megabyte && IsDisturbed(device)) Assert.Ignore($"Other programs take and free memory of the device meanwhile: {figures}");
        Assert.That(Math.Abs(caches[1] - caches[2]), Is.LessThan(128 * Megabyte), figures);
        Assert.That(Math.Abs(caches[0] - caches[1]), Is.LessThan(512 * Megabyte), figures);
    }

    [Test]
    public async Task Engine_LittleMemory_LeavesTheReserveOrHalfAndRuns([Values(nameof(Llama), nameof(QwenMoe))] string model, [Values] bool splitFuse)
    {
        const long Limit = 3 * Gigabyte / 2;
        EngineOptions options = new() { MaxContext = 4096, Scheduler = new SchedulerOptions { SplitFuse = splitFuse } };
        using Measured measured = new(model == nameof(Llama) ? Llama : QwenMoe, options, Limit);
        long left = Limit - measured.BytesBefore, later = LaterBytes(options.MaxSequences), expected = Math.Max(left - CudaBackend.ReserveBytes(Limit) - later, left / 2);
        TestContext.Out.WriteLine($"{measured.BytesBefore / Megabyte:N0} MiB before the cache of {measured.Engine.CacheBytes / Megabyte:N0}");
        Assert.That(measured.Engine.CacheBytes, Is.GreaterThan(expected - (4 * Megabyte)).And.LessThanOrEqualTo(expected));
        await measured.RunLargestSteps();
        measured.AssertTakesNoMore(later);
    }

    [Test]
    public void Engine_LargestStepBeyondTheMemory_SaysTheSumsAndMakesNoCache()
    {
        using CudaBackend backend = new(options: new CudaOptions { MemoryLimit = 256 * Megabyte });
        CausalLM model = ModelLoader.Load(DefaultModel.Folder, backend).Model;
        Assert.That(() => new LlmEngine(model, [], new EngineOptions { TokenBudget = 1 << 16 }), Throws.TypeOf<CudaOutOfMemoryException>()
            .With.Message.Match("no room for [0-9,]+ bytes of (scratch|activations and state): [0-9,]+ of 268,435,456 bytes are free")
            .And.Message.Match("[1-9][0-9,]+ bytes of weights, 0 bytes of key/value cache, [0-9,]+ bytes of activations and state, [0-9,]+ bytes of scratch")
            .And.Message.Contains("token budget"));
    }

    private static long LaterBytes(int sequences) => 2L * sequences * 4096 * sizeof(float);

    private static (long Free, long Total) Memory(CudaDevice device)
    {
        device.MakeCurrent();
        return CudaDevice.Memory();
    }

    // Whether free memory changes while this process does nothing.
    private static bool IsDisturbed(CudaDevice device)
    {
        long free = Memory(device).Free;
        for (int i = 0; i < 20; i++)
        {
            Thread.Sleep(50);
            if (Memory(device).Free != free) return true;
        }
        return false;
    }

    /// <summary>An engine whose cache is measured, and what its backend held when it was asked for the size.</summary>
    private sealed class Measured : IDisposable
    {
        private readonly CudaBackend _cuda;
        private readonly ObservedBackend _backend;

        public Measured(string config, EngineOptions options, long? limit = null)
        {
            _cuda = new CudaBackend(options: new CudaOptions { MemoryLimit = limit });
            _backend = new ObservedBackend(_cuda);
            try
            {
                CausalLM model = ModelLoader.Load(ModelConfig.Parse(config), new RandomCheckpoint(DType.BF16, 1), _backend, new ModelLoadOptions());
                _backend.Taking = call => BytesBefore = call == nameof(IBackend.DefaultCacheBytes) ? _cuda.AllocatedBytes : BytesBefore;
                Engine = new LlmEngine(model, [], options);
            }
            catch
            {
                _backend.Dispose();
                throw;
            }
        }

        public LlmEngine Engine { get; }

        /// <summary>Bytes on the device before the cache.</summary>
        public long BytesBefore { get; private set; }

        /// <summary>Prompts of many tokens at once, then decodes of them all, some with penalties and log probabilities of logits that the draw changes.</summary>
        public async Task RunLargestSteps()
        {
            Random random = new(1);
            SamplingParameters plain = SamplingParameters.Greedy with { MaxNewTokens = 24 };
            SamplingParameters all = plain with { RepetitionPenalty = 1.1f, TopLogProbabilities = 5, MinNewTokens = 4, StopTokenIds = [7] };
            GenerationRequest[] requests = [.. Enumerable.Range(0, 96).Select(i => Engine.Submit([.. Enumerable.Range(0, random.Next(100, 1000)).Select(_ => random.Next(4096))], i % 2 == 0 ? all : plain, isStreamed: false))];
            foreach (GenerationRequest request in requests) Assert.That(await LlmEngineTests.Tokens(request), Is.Not.Empty);
            LlmEngineTests.AssertIdle(Engine);
        }

        /// <summary>Beside the cache its backend holds what it held before, <paramref name="later"/> bytes and little else.</summary>
        public void AssertTakesNoMore(long later) =>
            Assert.That(_cuda.AllocatedBytes - Engine.CacheBytes, Is.LessThanOrEqualTo(BytesBefore + later + LaterScratch), "The largest steps had taken all.");

        public void Dispose()
        {
            Engine.Dispose();
            _backend.Dispose();
        }
    }
}
