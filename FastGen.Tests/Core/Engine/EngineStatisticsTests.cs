namespace FastGen.Tests;

/// <summary>What an engine says of itself and its requests.</summary>
public sealed class EngineStatisticsTests
{
    [Test]
    public void Timings_BackendThatComputesAsItSubmits_QueuedEndsBeforeTheStep()
    {
        TimeSpan step = TimeSpan.FromMilliseconds(60);
        NullBackend backend = new() { OnSubmit = () => Thread.Sleep(step) };
        using LlmEngine engine = new(new NullModel(backend), [], new EngineOptions { TokenBudget = 8, CacheTokens = 100 });
        GenerationRequest request = engine.Submit([1], SamplingParameters.Greedy with { MaxNewTokens = 1 });
        request.Wait(int.MaxValue);
        Assert.That(request.Timings.FirstToken - request.Timings.Queued, Is.GreaterThan(step / 2));
    }

    [Test]
    public void Statistics_BlocksGivenBackInTheStepThatTookMore_CountForThePeak()
    {
        using ManualResetEventSlim begun = new(), both = new();
        SimulatedBackend backend = new()
        {
            OnSubmit = () =>
            {
                begun.Set();
                both.Wait();
            },
        };
        using LlmEngine engine = new(new SimulatedModel(backend), [], new EngineOptions { TokenBudget = 8, CacheTokens = 100, BlockSize = 4 });
        GenerationRequest growing = engine.Submit([1, 2, 3], SamplingParameters.Greedy with { MaxNewTokens = 3 });
        begun.Wait();
        GenerationRequest ending = engine.Submit([1, 2, 3, 4], SamplingParameters.Greedy with { MaxNewTokens = 1 });
        both.Set();
        growing.Wait(int.MaxValue);
        ending.Wait(int.MaxValue);
        LlmEngineTests.AssertIdle(engine);
        Assert.That(engine.Statistics.PeakUsedBlocks, Is.EqualTo(3));
    }
}
