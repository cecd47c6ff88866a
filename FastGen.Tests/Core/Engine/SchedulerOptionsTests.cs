using System.Diagnostics;
using static FastGen.Tests.LlmEngineTests;

namespace FastGen.Tests;

public sealed class SchedulerOptionsTests
{
    private static readonly TimeSpan Target = TimeSpan.FromMilliseconds(20);

    [Test]
    public async Task SplitFuse_Off_RunsPromptsWholeAndGivesTheSame([Values(1, 2)] int seed, [Values(0, 20)] int window)
    {
        Random random = new(seed);
        SimulatedBackend backend = new() { Window = window };
        SimulatedModel model = new(backend);
        int mixed = 0;
        backend.OnStep = batch => mixed += batch.TokenCount > batch.SequenceCount && batch.SequenceCount > 1 ? 1 : 0;
        using LlmEngine engine = new(model, [3], new EngineOptions { CacheTokens = 320, BlockSize = 4, MaxSequences = 6, Scheduler = new SchedulerOptions { SplitFuse = false } });
        List<(int[] Prompt, int Max, GenerationRequest Request)> requests = [];
        for (int i = 0; i < 60; i++)
        {
            int[] prompt = [.. Enumerable.Range(0, random.Next(1, 200)).Select(_ => random.Next(1000))];
            int max = random.Next(1, 40);
            requests.Add((prompt, max, engine.Submit(prompt, new SamplingParameters { MaxNewTokens = max })));
        }
        foreach ((int[] prompt, int max, GenerationRequest request) in requests) Assert.That(await Tokens(request), Is.EqualTo(model.Expected(prompt, max, [3])));
        Assert.That(mixed, Is.Zero, "No step mixes a prompt with others.");
        Assert.That(engine.TokenBudget, Is.EqualTo(engine.MaxContext), "A step holds the longest prompt.");
        Assert.That(engine.Calibration, Is.Null);
    }

    // A device on which a token takes 100 µs in a step: 20 ms hold 200 of them, wherever the test runs; what the host adds makes it fewer.
    [Test]
    public async Task TargetTimeBetweenTokens_TimedDevice_BudgetFollows()
    {
        using LlmEngine engine = new(new NullModel(new TimedBackend()), [], new EngineOptions { CacheTokens = 64_000, MaxSequences = 16, Scheduler = new SchedulerOptions { TargetTimeBetweenTokens = Target } });
        await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => Tokens(engine.Submit(new int[1500], new SamplingParameters { MaxNewTokens = 4 }))));
        Assert.That(engine.TokenBudget, Is.InRange(64, 220));
        Assert.That(engine.Statistics.TokenBudget, Is.EqualTo(engine.TokenBudget));
    }

    [Test]
    public void TokenBudget_ContextShorterThanStep_IsMeasuredWithSeveralPrompts()
    {
        PatientBackend backend = new();
        using LlmEngine engine = new(new NullModel(backend), [], new EngineOptions { CacheTokens = 64_000, MaxContext = 300, MaxSequences = 32 });
        Assert.That(engine.Calibration!.Curve[^1].Tokens, Is.EqualTo(backend.TokenBudgetLimit), engine.Calibration.ToString());
        Assert.That(engine.Calibration.ThroughputTokenBudget, Is.EqualTo(backend.TokenBudgetLimit), engine.Calibration.ToString());
        Assert.That(backend.LongestContext, Is.LessThanOrEqualTo(300));
    }

    [Test]
    public async Task TokenBudget_Pinned_StaysWhateverTheTarget()
    {
        using LlmEngine engine = new(new NullModel(new TimedBackend()), [], new EngineOptions { TokenBudget = 500, CacheTokens = 64_000, MaxSequences = 16, Scheduler = new SchedulerOptions { TargetTimeBetweenTokens = Target } });
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Tokens(engine.Submit(new int[1500], new SamplingParameters { MaxNewTokens = 4 }))));
        Assert.That(engine.TokenBudget, Is.EqualTo(500));
        Assert.That(engine.Calibration, Is.Null);
    }

    [Test]
    public void Validate_ContradictoryOrOutOfRange_NamesTheOption()
    {
        Assert.That(() => new EngineOptions { Scheduler = new SchedulerOptions { TargetTimeBetweenTokens = TimeSpan.Zero } }.Validate(), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("TargetTimeBetweenTokens"));
        Assert.That(() => new EngineOptions { MaxContext = 1 }.Validate(), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("MaxContext must be 2 or more"));
        Assert.That(() => new EngineOptions { TokenBudget = 8, Scheduler = new SchedulerOptions { SplitFuse = false } }.Validate(), Throws.ArgumentException.With.Message.Contains("TokenBudget"));
        Assert.That(() => new EngineOptions { Scheduler = new SchedulerOptions { SplitFuse = false, TargetTimeBetweenTokens = Target } }.Validate(), Throws.ArgumentException.With.Message.Contains("TargetTimeBetweenTokens"));
    }

    /// <summary>Every step takes the same time, so that the largest is the best.</summary>
    private sealed class PatientBackend : NullBackend
    {
        public int LongestContext { get; private set; }

        public override int TokenBudgetLimit => 2048;

        public override long Submit(FastGen.Compute.RaggedBatch batch, Action<int, int> forward)
        {
            foreach (int context in batch.ContextLengths) LongestContext = Math.Max(LongestContext, context);
            return base.Submit(batch, forward);
        }

        public override void Collect(long ticket, Span<int> tokens)
        {
            Thread.Sleep(3);
            base.Collect(ticket, tokens);
        }
    }

    /// <summary>Steps take their time one after another, as on a device.</summary>
    private sealed class TimedBackend : NullBackend
    {
        private const double SecondsAToken = 100e-6;

        private readonly Dictionary<long, double> _ends = [];
        private double _free;

        public override int TokenBudgetLimit => 2048;

        public override long Submit(FastGen.Compute.RaggedBatch batch, Action<int, int> forward)
        {
            long ticket = base.Submit(batch, forward);
            _ends[ticket] = _free = Math.Max(Now, _free) + (batch.TokenCount * SecondsAToken);
            return ticket;
        }

        public override void Collect(long ticket, Span<int> tokens)
        {
            _ends.Remove(ticket, out double end);
            while (Now < end) Thread.Sleep(Math.Max(0, (int)(1000 * (end - Now)) - 1));
            base.Collect(ticket, tokens);
        }

        private static double Now => Stopwatch.GetTimestamp() / (double)Stopwatch.Frequency;
    }
}
