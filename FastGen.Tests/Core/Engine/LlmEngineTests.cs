using System.Diagnostics;
using Microsoft.Extensions.Logging;

namespace FastGen.Tests;

public sealed class LlmEngineTests
{
    private static readonly int[] NoStops = [];

    [Test]
    public async Task Submit_ManyRequestsSmallCache_EachGivesWhatItGivesAlone([Values(1, 2, 3)] int seed, [Values(0, 20)] int window, [Values(1, 7, 64)] int budget)
    {
        Random random = new(seed);
        SimulatedBackend backend = new() { Window = window };
        SimulatedModel model = new(backend);
        using LlmEngine engine = new(model, [3], new EngineOptions { TokenBudget = budget, CacheTokens = 160, BlockSize = 4, MaxSequences = 6 });
        List<(int[] Prompt, int Max, GenerationRequest Request)> requests = [];
        for (int i = 0; i < 60; i++)
        {
            int[] prompt = [.. Enumerable.Range(0, random.Next(1, 60)).Select(_ => random.Next(1000))];
            int max = random.Next(1, 40);
            requests.Add((prompt, max, engine.Submit(prompt, new SamplingParameters { MaxNewTokens = max })));
        }
        foreach ((int[] prompt, int max, GenerationRequest request) in requests)
        {
            List<int> expected = model.Expected(prompt, max, [3]);
            Assert.That(await Tokens(request), Is.EqualTo(expected));
            Assert.That(request.FinishReason, Is.EqualTo(expected[^1] == 3 ? FinishReason.Stop : FinishReason.Length));
        }
        AssertIdle(engine);
    }

    [Test]
    public async Task Submit_SomeAskForLogProbabilities_EachGetsItsOwnHoweverOftenRestarted([Values(1, 7, 64)] int budget)
    {
        SimulatedModel model = new(new SimulatedBackend());
        using LlmEngine engine = new(model, [3], new EngineOptions { TokenBudget = budget, CacheTokens = 100, BlockSize = 4, MaxSequences = 6, Watermark = 0 });
        List<GenerationRequest> requests = [.. Enumerable.Range(0, 40).Select(i => engine.Submit(Prompt(i), new SamplingParameters { MaxNewTokens = 30, LogProbabilities = i % 4 == 1, TopLogProbabilities = i % 4 == 2 ? i % 21 : 0 }))];
        for (int i = 0; i < requests.Count; i++)
        {
            List<int> expected = model.Expected(Prompt(i), 30, [3]);
            Assert.That(await Tokens(requests[i]), Is.EqualTo(expected));
            TokenLogProbabilities[] entries = new TokenLogProbabilities[40];
            int count = requests[i].CopyLogProbabilities(0, entries);
            Assert.That(count, Is.EqualTo(i % 4 is 1 or 2 ? expected.Count : 0));
            for (int k = 0; k < count; k++)
            {
                Assert.That(entries[k].Chosen, Is.EqualTo(new TokenLogProbability(expected[k], SimulatedBackend.LogProbability(expected[k]))));
                Assert.That(entries[k].Top, Has.Count.EqualTo(i % 4 == 2 ? i % 21 : 0));
            }
            if (count > 1) Assert.That((requests[i].CopyLogProbabilities(1, entries.AsSpan(0, 1)), entries[0].Chosen.TokenId), Is.EqualTo((1, expected[1])));
        }
        if (budget > 1) Assert.That(engine.Statistics.Preemptions, Is.GreaterThan(0));
        AssertIdle(engine);

        static int[] Prompt(int i) => [.. Enumerable.Range(0, 1 + (i % 17)).Select(k => (i * 20) + k)];
    }

    [Test]
    public async Task Submit_CacheOfThreeBlocksFiftyRequests_AllEnd()
    {
        SimulatedModel model = new(new SimulatedBackend());
        using LlmEngine engine = new(model, NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 12, BlockSize = 4 });
        List<GenerationRequest> requests = [.. Enumerable.Range(0, 50).Select(i => engine.Submit([i, i + 1], new SamplingParameters { MaxNewTokens = 10 }))];
        for (int i = 0; i < 50; i++) Assert.That(await Tokens(requests[i]), Is.EqualTo(model.Expected([i, i + 1], 10, NoStops)));
        AssertIdle(engine);
    }

    [Test]
    public async Task Cancel_AtEveryStep_EndsOnlyThatRequest()
    {
        for (int cancelAfter = 0; cancelAfter < 24; cancelAfter++)
        {
            SimulatedBackend backend = new();
            SimulatedModel model = new(backend);
            using LlmEngine engine = new(model, NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 120, BlockSize = 4 });
            int[] longPrompt = [.. Enumerable.Range(0, 50)];
            int steps = 0;
            GenerationRequest? victim = null;
            using ManualResetEventSlim submitted = new();
            backend.OnStep = _ =>
            {
                submitted.Wait();
                if (steps++ == cancelAfter) victim!.Cancel();
            };
            GenerationRequest other = engine.Submit([1, 2, 3], new SamplingParameters { MaxNewTokens = 30 });
            victim = engine.Submit(longPrompt, new SamplingParameters { MaxNewTokens = 30 });
            submitted.Set();
            List<int> cut = await Tokens(victim);
            Assert.That(victim.FinishReason, Is.EqualTo(FinishReason.Cancelled));
            Assert.That(cut, Is.EqualTo(model.Expected(longPrompt, 30, NoStops)[..cut.Count]), "What came before is right.");
            Assert.That(await Tokens(other), Is.EqualTo(model.Expected([1, 2, 3], 30, NoStops)));
            AssertIdle(engine);
        }
    }

    [Test]
    public async Task Submit_FaultsInEveryOperation_FailTheirStepOnly([Values] bool onSubmit, [Values(1, 2, 3, 4)] int seed)
    {
        Random random = new(seed);
        SimulatedBackend backend = new();
        SimulatedModel model = new(backend);
        void Fault()
        {
            if (random.Next(12) == 0) throw new InvalidOperationException("injected fault");
        }
        if (onSubmit) backend.OnSubmit = Fault;
        else backend.OnCollect = Fault;
        using LlmEngine engine = new(model, NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 100, BlockSize = 4, MaxSequences = 4 });
        int failed = 0, right = 0;
        List<GenerationRequest> requests = [.. Enumerable.Range(0, 60).Select(i => engine.Submit([i, 5, i], new SamplingParameters { MaxNewTokens = 1 + (i % 5) }))];
        for (int i = 0; i < requests.Count; i++)
        {
            List<int> expected = model.Expected([i, 5, i], 1 + (i % 5), NoStops);
            try
            {
                Assert.That(await Tokens(requests[i]), Is.EqualTo(expected));
                right++;
            }
            catch (GenerationException exception)
            {
                Assert.That(exception.InnerException?.InnerException?.Message, Is.EqualTo("injected fault"));
                failed++;
            }
        }
        Assert.That(failed, Is.GreaterThan(0));
        Assert.That(right, Is.GreaterThan(0));
        AssertIdle(engine);
    }

    [Test]
    public async Task Submit_FaultsAndALoggerThatThrows_EndOnlyTheRequests([Values] bool lost)
    {
        SimulatedBackend backend = new() { OnCollect = () => throw (lost ? new DeviceLostException("injected fault") : new InvalidOperationException("injected fault")) };
        using LlmEngine engine = new(new SimulatedModel(backend), NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 100 }, new ActingLogger(() => throw new InvalidOperationException("from the logger")));
        Exception exception = (await Assert.CatchAsync(async () => await Tokens(engine.Submit([1], new SamplingParameters { MaxNewTokens = 9 }))))!;
        Assert.That(exception, Is.TypeOf(lost ? typeof(DeviceLostException) : typeof(GenerationException)).And.Message.Contains("injected fault"));
        backend.OnCollect = null;
        if (!lost) Assert.That(await Tokens(engine.Submit([1], new SamplingParameters { MaxNewTokens = 9 })), Has.Count.EqualTo(9));
    }

    [Test]
    public async Task Dispose_FromTheEnginesThread_ReleasesTheBackendAfterItsLastStep()
    {
        int collecting = 0;
        bool released = false, releasedEarly = false;
        TaskCompletionSource done = new();
        LlmEngine? engine = null;
        SimulatedBackend backend = new();
        backend.OnCollect = () =>
        {
            releasedEarly |= released;
            // The second step is in flight when the first fails.
            if (Interlocked.Increment(ref collecting) == 1) throw new InvalidOperationException("injected fault");
        };
        ActingLogger logger = new(() => engine!.Dispose(() =>
        {
            released = true;
            done.SetResult();
        }));
        engine = new LlmEngine(new SimulatedModel(backend), NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 100 }, logger);

        await Assert.CatchAsync(async () => await Tokens(engine.Submit([1], new SamplingParameters { MaxNewTokens = 9 })));

        await done.Task.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.That((collecting, releasedEarly), Is.EqualTo((2, false)));
        Assert.That(() => engine.Submit([1], new SamplingParameters { MaxNewTokens = 9 }), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public async Task Submit_DeviceLost_FailsAllAndRefusesMore()
    {
        SimulatedBackend backend = new() { OnCollect = () => throw new DeviceLostException("the device is gone") };
        using LlmEngine engine = new(new SimulatedModel(backend), NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 100 });
        GenerationRequest first = engine.Submit([1], new SamplingParameters { MaxNewTokens = 9 }), second = engine.Submit([2], new SamplingParameters { MaxNewTokens = 9 });
        foreach (GenerationRequest request in (GenerationRequest[])[first, second])
        {
            DeviceLostException exception = (await Assert.ThrowsAsync<DeviceLostException>(async () => await Tokens(request)))!;
            Assert.That(exception.Message, Does.Contain("the device is gone"));
        }
        await Task.Yield();
        Assert.That(() => engine.Submit([1], new SamplingParameters { MaxNewTokens = 9 }), Throws.TypeOf<DeviceLostException>().With.Message.Contains("the device is gone"));
    }

    [Test]
    public async Task Dispose_WhileGenerating_EndsEveryCallerClearly()
    {
        SimulatedBackend backend = new();
        LlmEngine engine = new(new SimulatedModel(backend, 100_000), NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 100_000, MaxSequences = 4 });
        List<GenerationRequest> requests = [.. Enumerable.Range(0, 20).Select(i => engine.Submit([i], new SamplingParameters { MaxNewTokens = 20_000 }))];
        using ManualResetEventSlim running = new();
        backend.OnStep = _ => running.Set();
        running.Wait();
        engine.Dispose();
        foreach (GenerationRequest request in requests)
        {
            ObjectDisposedException exception = (await Assert.ThrowsAsync<ObjectDisposedException>(async () => await Tokens(request)))!;
            Assert.That(exception.Message, Does.Contain("disposed"));
        }
        Assert.That(() => engine.Submit([1], SamplingParameters.Greedy), Throws.TypeOf<ObjectDisposedException>());
        engine.Dispose();
    }

    [Test]
    public async Task Submit_StopTokens_MinNewTokensAndIgnoreEndOfSequence()
    {
        SimulatedModel model = new(new SimulatedBackend { VocabularySize = 8 });
        using LlmEngine engine = new(model, [3], new EngineOptions { TokenBudget = 8, CacheTokens = 200 });
        List<int> ignoring = await Tokens(engine.Submit([1], new SamplingParameters { MaxNewTokens = 50, IgnoreEndOfSequence = true }));
        Assert.That(ignoring, Has.Count.EqualTo(50));
        List<int> own = await Tokens(engine.Submit([1], new SamplingParameters { MaxNewTokens = 50, StopTokenIds = [5] }));
        Assert.That(own, Is.EqualTo(model.Expected([1], 50, [3, 5])));
    }

    [Test]
    public void Submit_StopTokenBeyondTheVocabulary_IsNeverSuppressed()
    {
        int suppressed = 0;
        SimulatedBackend backend = new() { VocabularySize = 8, OnStep = batch => suppressed += batch.SuppressedTokens.ToArray().Count(id => id != 3) };
        using LlmEngine engine = new(new SimulatedModel(backend), [3, 8, -1, 100_000], new EngineOptions { TokenBudget = 8, CacheTokens = 100 });
        engine.Submit([1], new SamplingParameters { MaxNewTokens = 9, MinNewTokens = 9 }).Wait(int.MaxValue);
        Assert.That(suppressed, Is.Zero);
    }

    [TestCase(10, null, 6)]
    [TestCase(10, 2, 2)]
    [TestCase(10, 20, 6)]
    [TestCase(60, null, 28)]
    public async Task Submit_MaxLength_CountsThePromptToo(int maxLength, int? maxNewTokens, int expected)
    {
        using LlmEngine engine = new(new SimulatedModel(new SimulatedBackend(), 64), NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 32 });
        Assert.That(await Tokens(engine.Submit([1, 2, 3, 4], SamplingParameters.Greedy with { MaxNewTokens = maxNewTokens, MaxLength = maxLength })), Has.Count.EqualTo(expected));
    }

    [Test]
    public async Task Submit_NothingFiniteInLogits_FailsThatRequestByName()
    {
        using LlmEngine engine = new(new NullModel(new NullBackend { Drawn = -1 }), NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 200 });
        GenerationException exception = (await Assert.ThrowsAsync<GenerationException>(async () => await Tokens(engine.Submit([0], new SamplingParameters { MaxNewTokens = 9 }))))!;
        Assert.That(exception.Message, Does.Contain("NaN"));
    }

    [Test]
    public async Task Run_SteadyDecode_AllocatesNothingOnItsThread()
    {
        NullBackend device = new();
        using LlmEngine engine = new(new NullModel(device), NoStops, new EngineOptions { TokenBudget = 64, CacheTokens = 4096, MaxSequences = 8 });
        long before = -1, after = -1;
        int steps = 0;
        device.OnSubmit = () =>
        {
            if (++steps == 200) before = GC.GetAllocatedBytesForCurrentThread();
            if (steps == 400) after = GC.GetAllocatedBytesForCurrentThread();
        };
        List<Task> consumers = [];
        for (int i = 0; i < 8; i++)
        {
            GenerationRequest request = engine.Submit([1, 2, 3], new SamplingParameters { MaxNewTokens = 500 });
            consumers.Add(Task.Run(async () =>
            {
                for (int known = 0; !request.HasEnded; known = request.Count) await request.WaitAsync(known);
            }));
        }
        await Task.WhenAll(consumers);
        Assert.That(before, Is.GreaterThan(0));
        Assert.That(after - before, Is.Zero);
    }

    [Test]
    public void Run_RequestsJoinDecode_AllocatesNothingOnItsThread()
    {
        SamplingParameters sampling = new() { MaxNewTokens = 500 };
        NullBackend device = new();
        using LlmEngine engine = new(new NullModel(device), NoStops, new EngineOptions { TokenBudget = 64, CacheTokens = 4096, MaxSequences = 8 });
        long before = -1, after = -1;
        int steps = 0;
        device.OnSubmit = () =>
        {
            if (++steps == 200)
            {
                for (int i = 0; i < 7; i++) engine.Submit([1, 2, 3], sampling);
                before = GC.GetAllocatedBytesForCurrentThread();
            }
            if (steps == 400) after = GC.GetAllocatedBytesForCurrentThread();
        };
        engine.Submit([1, 2, 3], sampling).Wait(int.MaxValue);
        Assert.That(before, Is.GreaterThan(0));
        Assert.That(after - before, Is.Zero);
    }

    [Test]
    public async Task Idle_UsesNoProcessorTime()
    {
        using LlmEngine engine = new(new SimulatedModel(new SimulatedBackend()), NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 100 });
        await Tokens(engine.Submit([1], new SamplingParameters { MaxNewTokens = 2 }));
        using Process process = Process.GetCurrentProcess();
        TimeSpan quietest = TimeSpan.MaxValue;
        for (int i = 0; i < 5; i++)
        {
            TimeSpan before = process.TotalProcessorTime;
            await Task.Delay(100);
            process.Refresh();
            TimeSpan used = process.TotalProcessorTime - before;
            if (used < quietest) quietest = used;
        }
        Assert.That(quietest.TotalMilliseconds, Is.LessThan(60), "An idle engine sleeps.");
    }

    [Test]
    public void Wait_Blocking_EndsWithTheTokenOrTheRequest()
    {
        using LlmEngine engine = new(new SimulatedModel(new SimulatedBackend()), NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 100 });
        GenerationRequest request = engine.Submit([1, 2], new SamplingParameters { MaxNewTokens = 30 });
        request.Wait(3);
        Assert.That(request.Count, Is.GreaterThan(3));
        request.Wait(int.MaxValue);
        Assert.That((request.HasEnded, request.Count), Is.EqualTo((true, 30)));
    }

    [Test]
    public async Task WaitAsync_WhileOneWaits_IsRefused()
    {
        using ManualResetEventSlim go = new();
        SimulatedBackend backend = new() { OnSubmit = go.Wait };
        using LlmEngine engine = new(new SimulatedModel(backend), NoStops, new EngineOptions { TokenBudget = 8, CacheTokens = 100 });
        GenerationRequest request = engine.Submit([1, 2], new SamplingParameters { MaxNewTokens = 9 });
        ValueTask first = request.WaitAsync(0);
        Assert.That(() => request.Wait(0), Throws.InvalidOperationException.With.Message.Contains("one consumer"));
        go.Set();
        await first;
        Assert.That(await Tokens(request), Has.Count.EqualTo(9));
    }

    private sealed class ActingLogger(Action act) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => act();
    }

    internal static async Task<List<int>> Tokens(GenerationRequest request)
    {
        await request.WaitAsync(int.MaxValue).AsTask().WaitAsync(TimeSpan.FromSeconds(30));
        request.ThrowIfFailed();
        int[] tokens = new int[request.Count];
        request.CopyTokens(0, tokens);
        return [.. tokens];
    }

    internal static void AssertIdle(LlmEngine engine)
    {
        Stopwatch waited = Stopwatch.StartNew();
        while (engine.Statistics is { UsedBlocks: > 0 } or { RunningRequests: > 0 } or { WaitingRequests: > 0 } && waited.Elapsed < TimeSpan.FromSeconds(5)) Thread.Sleep(1);
        EngineStatistics statistics = engine.Statistics;
        Assert.That((statistics.UsedBlocks, statistics.RunningRequests, statistics.WaitingRequests), Is.EqualTo((0, 0, 0)), "Blocks are conserved and nothing is left.");
    }
}
