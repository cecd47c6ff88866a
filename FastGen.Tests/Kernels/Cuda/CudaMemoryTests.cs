using FastGen.Kernels.Cuda;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Where memory is short it is said with the sums, and all of it comes back.</summary>
[Category("Cuda")]
public sealed class CudaMemoryTests
{
    private const long Megabyte = 1 << 20;

    [OneTimeSetUp]
    public void RequireDevice()
    {
        CudaProbe probe = CudaBackend.Probe();
        if (!probe.IsUsable) Assert.Ignore(probe.Failure!);
    }

    [Test]
    public void Load_CacheBeyondTheDevice_SaysTheSums() => Assert.That(
        () => Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Device = ComputeDevice.Cuda(), Engine = new EngineOptions { CacheTokens = 2_000_000_000 } }),
        Throws.TypeOf<CudaOutOfMemoryException>().With.Message.Match("no room for [0-9,]+ bytes of key/value cache: [0-9,]+ of [0-9,]+ bytes are free").And.Message.Match("[1-9][0-9,]+ bytes of weights, [0-9,]+ bytes of key/value cache, [0-9,]+ bytes of activations and state, [0-9,]+ bytes of scratch"));

    [Test]
    public void Load_LimitBelowTheWeights_SaysSo()
    {
        using CudaBackend backend = new(options: new CudaOptions { MemoryLimit = Megabyte });
        Assert.That(() => ModelLoader.Load(DefaultModel.Folder, backend), Throws.TypeOf<CudaOutOfMemoryException>().With.Message.Match("bytes of weights: [0-9,]+ of 1,048,576 bytes are free"));
    }

    [Test]
    public async Task Step_ScratchCannotGrow_FailsItsRequestsWithTheSumsAndTheEngineGoesOn()
    {
        EngineOptions options = new() { TokenBudget = 64, CacheTokens = 1024, MaxSequences = 4 };
        SamplingParameters plain = SamplingParameters.Greedy with { MaxNewTokens = 8 };
        async Task<long> BytesOfPlainRequests()
        {
            using CudaBackend unlimited = new();
            using LlmEngine engine = new(ModelLoader.Load(DefaultModel.Folder, unlimited).Model, [], options);
            await LlmEngineTests.Tokens(engine.Submit([1, 2, 3], plain));
            return unlimited.AllocatedBytes;
        }
        // The first time products are timed, which may take scratch of its own.
        await BytesOfPlainRequests();
        using CudaBackend backend = new(options: new CudaOptions { MemoryLimit = await BytesOfPlainRequests() });
        using (LlmEngine engine = new(ModelLoader.Load(DefaultModel.Folder, backend).Model, [], options))
        {
            List<int> expected = await LlmEngineTests.Tokens(engine.Submit([1, 2, 3], plain));
            for (int i = 0; i < 3; i++)
            {
                // Log probabilities of logits that the draw changes need a copy of them.
                GenerationRequest request = engine.Submit([1, 2, 3], plain with { LogProbabilities = true, MinNewTokens = 2, StopTokenIds = [5] });
                GenerationException exception = (await Assert.ThrowsAsync<GenerationException>(async () => await LlmEngineTests.Tokens(request)))!;
                Assert.That(exception.InnerException, Is.TypeOf<GenerationException>().With.InnerException.TypeOf<CudaOutOfMemoryException>());
                Assert.That(exception.Message, Does.Match("no room for [0-9,]+ bytes of scratch: 0 of [0-9,]+ bytes are free"));
                Assert.That(await LlmEngineTests.Tokens(engine.Submit([1, 2, 3], plain)), Is.EqualTo(expected));
            }
            LlmEngineTests.AssertIdle(engine);
        }
    }

    [Test]
    public async Task Step_MetadataOutgrown_ReplacesItsBuffers()
    {
        using CudaBackend backend = new();
        using LlmEngine engine = new(ModelLoader.Load(DefaultModel.Folder, backend).Model, [], new EngineOptions { TokenBudget = 512, CacheTokens = 2048, MaxSequences = 4 });
        async Task<long> BytesAfter(int stopTokens)
        {
            // Stop tokens are suppressed until the minimum is reached; a request alone has room for 64.
            SamplingParameters sampling = SamplingParameters.Greedy with { MaxNewTokens = 12, MinNewTokens = 10, StopTokenIds = [.. Enumerable.Range(5, stopTokens)] };
            List<int>[] results = [await LlmEngineTests.Tokens(engine.Submit([1, 2, 3], sampling)), await LlmEngineTests.Tokens(engine.Submit([1, 2, 3], sampling))];
            Assert.That(results[1], Is.EqualTo(results[0]));
            Assert.That(results[0].Take(10), Has.None.InRange(5, 4 + stopTokens));
            return backend.AllocatedBytes;
        }
        long first = await BytesAfter(100), second = await BytesAfter(1000);
        // Room for twice as many as asked: the new buffer beside the old one would be more.
        Assert.That(second - first, Is.LessThanOrEqualTo((2 * (1000 - 100) * sizeof(int)) + 16));
        Assert.That(await BytesAfter(1000), Is.EqualTo(second));
    }

    [Test]
    public void Dispose_AfterSeveralPipelines_ReturnsDeviceAndManagedMemory()
    {
        // Keeps the context, and with it what CUDA itself loads once.
        using CudaDevice device = new(0);
        LoadAndGenerate();
        string figures = "";
        bool disturbed = false;
        // What is lost stays lost, so one round that no other program disturbs is proof.
        for (int attempt = 0; attempt < 4; attempt++)
        {
            (long managed, long free) = Memory(device);
            for (int round = 0; round < 3; round++) LoadAndGenerate();
            (long managedAfter, long freeAfter) = Memory(device);
            figures = $"managed {managed:N0} before and {managedAfter:N0} after, free on the device {free:N0} before and {freeAfter:N0} after three pipelines";
            TestContext.Out.WriteLine(figures);
            if (Math.Abs(free - freeAfter) < Megabyte && managedAfter - managed < Megabyte) return;
            disturbed |= IsDisturbed();
        }
        if (disturbed) Assert.Ignore($"Other programs take and free memory of the device meanwhile: {figures}");
        Assert.Fail(figures);
    }

    [Test]
    public async Task Soak_TwoThousandRequestsCancellationsAndFaults_ReturnsMemory()
    {
        CudaBackend cuda = new();
        ObservedBackend backend = new(cuda);
        Random faults = new(5);
        int thrown = 0;
        void MayThrow()
        {
            if (faults.Next(200) != 0) return;
            thrown++;
            throw new InvalidOperationException("injected fault");
        }
        using (LlmEngine engine = new(ModelLoader.Load(DefaultModel.Folder, backend).Model, [], new EngineOptions { TokenBudget = 128, CacheTokens = 640, MaxSequences = 16 }))
        {
            (backend.Submitting, backend.Collected) = (_ => MayThrow(), MayThrow);
            // What a run takes once is there after the first requests.
            await Serve(engine, 500, seed: 1);
            (long managed, long device) = (GC.GetTotalMemory(forceFullCollection: true), cuda.AllocatedBytes);
            (int ended, int cancelled, int failed) = await Serve(engine, 2000, seed: 2);
            LlmEngineTests.AssertIdle(engine);
            long managedAfter = GC.GetTotalMemory(forceFullCollection: true);
            TestContext.Out.WriteLine($"{ended} ended, {cancelled} cancelled, {failed} failed by {thrown} faults; managed {managed:N0} and {managedAfter:N0}; device {device:N0} and {cuda.AllocatedBytes:N0}");
            Assert.That(ended + cancelled + failed, Is.EqualTo(2000));
            Assert.That((ended > 0, cancelled > 0, failed > 0), Is.EqualTo((true, true, true)));
            Assert.That(managedAfter - managed, Is.LessThan(2 * Megabyte));
            Assert.That(cuda.AllocatedBytes, Is.EqualTo(device));
        }
        backend.Dispose();
        Assert.That(cuda.AllocatedBytes, Is.Zero);
    }

    private static async Task<(int Ended, int Cancelled, int Failed)> Serve(LlmEngine engine, int count, int seed)
    {
        Random random = new(seed);
        int cancelled = 0, failed = 0;
        List<GenerationRequest> requests = [];
        for (int i = 0; i < count; i++)
        {
            int[] prompt = [.. Enumerable.Range(0, random.Next(1, 120)).Select(_ => random.Next(3000))];
            requests.Add(engine.Submit(prompt, new SamplingParameters { Temperature = random.Next(2), TopP = 0.9f, Seed = (ulong)i, MaxNewTokens = random.Next(1, 40), TopLogProbabilities = random.Next(3), MinNewTokens = random.Next(2) }));
            if (random.Next(4) == 0) requests[random.Next(requests.Count)].Cancel();
        }
        foreach (GenerationRequest request in requests)
        {
            await request.WaitAsync(int.MaxValue).AsTask().WaitAsync(TimeSpan.FromMinutes(2));
            try
            {
                request.ThrowIfFailed();
                if (request.FinishReason == FinishReason.Cancelled) cancelled++;
            }
            catch (GenerationException)
            {
                failed++;
            }
        }
        return (count - cancelled - failed, cancelled, failed);
    }

    private static void LoadAndGenerate()
    {
        using Pipeline pipeline = Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Device = ComputeDevice.Cuda(), Engine = new EngineOptions { TokenBudget = 256, CacheTokens = 4096 } });
        Assert.That(pipeline.Generate(["Once upon a time", "Mia"], SamplingParameters.Greedy with { MaxNewTokens = 40 }), Has.Count.EqualTo(2));
    }

    // Whether free memory changes while this process does nothing.
    private static bool IsDisturbed()
    {
        long free = CudaDevice.Memory().Free;
        for (int i = 0; i < 20; i++)
        {
            Thread.Sleep(50);
            if (CudaDevice.Memory().Free != free) return true;
        }
        return false;
    }

    private static (long Managed, long Free) Memory(CudaDevice device)
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        device.MakeCurrent();
        return (GC.GetTotalMemory(forceFullCollection: true), CudaDevice.Memory().Free);
    }
}
