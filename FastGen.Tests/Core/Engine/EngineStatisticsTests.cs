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
}
