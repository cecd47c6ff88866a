namespace FastGen.Tests;

/// <summary>What an engine and its requests refuse, and how they say it.</summary>
public sealed class EngineInputTests
{
    [Test]
    public void New_SizesBeyondWhatTablesHold_AreRefusedByName()
    {
        SimulatedModel model = new(new SimulatedBackend(), maxContext: 1 << 20);
        Assert.That(() => new LlmEngine(model, [], new EngineOptions { TokenBudget = int.MaxValue }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("TokenBudget"));
        Assert.That(() => new LlmEngine(model, [], new EngineOptions { MaxSequences = 65_536 }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("MaxSequences"));
        Assert.That(() => new LlmEngine(model, [], new EngineOptions { MaxSequences = 65_535, BlockSize = 1 }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("BlockSize"));
    }

    [Test]
    public void Submit_Nulls_AreRefusedByName()
    {
        using LlmEngine engine = new(new SimulatedModel(new SimulatedBackend()), [], new EngineOptions { TokenBudget = 8, CacheTokens = 100 });
        Assert.That(() => engine.Submit([1], null!), Throws.ArgumentNullException.With.Message.Contains("sampling"));
        Assert.That(() => engine.Submit([1], new SamplingParameters { StopTokenIds = null! }), Throws.ArgumentNullException.With.Message.Contains("StopTokenIds"));
        Assert.That(() => engine.Submit([1], new SamplingParameters { StopStrings = null! }), Throws.ArgumentNullException.With.Message.Contains("StopStrings"));
        Assert.That(() => new LlmEngine(null!, []), Throws.ArgumentNullException.With.Message.Contains("model"));
    }

    [Test]
    public void New_StopTokensBeyondTheVocabulary_AreLogged()
    {
        Journal log = new();
        using (LlmEngine engine = new(new SimulatedModel(new SimulatedBackend()), [3, 1000, 7], new EngineOptions { TokenBudget = 8, CacheTokens = 100 }, log)) Assert.That(log.Lines, Has.Some.Contains("Stop tokens 1000 lie beyond the 1000 ids"));
        log.Lines.Clear();
        using (LlmEngine engine = new(new SimulatedModel(new SimulatedBackend()), [3, 7], new EngineOptions { TokenBudget = 8, CacheTokens = 100 }, log)) Assert.That(log.Lines, Has.None.Contains("Stop tokens"));
    }

    [Test]
    public void Submit_BeyondALoweredContext_NamesTheOption()
    {
        using LlmEngine engine = new(new SimulatedModel(new SimulatedBackend(), 64), [], new EngineOptions { TokenBudget = 8, MaxContext = 32 });
        Assert.That(() => engine.Submit(new int[32], SamplingParameters.Greedy), Throws.ArgumentException.With.Message.Contains("at most 31 fit").And.Message.Contains("raise MaxContext; the model was made for 64"));
    }

    [Test]
    public void Submit_BadInput_NamesFieldValueAndRemedy()
    {
        using LlmEngine engine = new(new SimulatedModel(new SimulatedBackend(), 64), [], new EngineOptions { TokenBudget = 8, CacheTokens = 32 });
        Assert.That(() => engine.Submit([], SamplingParameters.Greedy), Throws.ArgumentException.With.Message.Contains("empty"));
        Assert.That(() => engine.Submit(new int[64], SamplingParameters.Greedy), Throws.ArgumentException.With.Message.Contains("64").And.Message.Contains("63").And.Message.Not.Contains("MaxContext"));
        Assert.That(() => engine.Submit([1, 1000], SamplingParameters.Greedy), Throws.ArgumentException.With.Message.Contains("1000").And.Message.Contains("999"));
        Assert.That(() => engine.Submit([1], new SamplingParameters { MaxNewTokens = 40 }), Throws.ArgumentException.With.Message.Contains("32").And.Property("ParamName").EqualTo("sampling"), "It can never fit.");
        Assert.That(() => engine.Submit([1], new SamplingParameters { Temperature = -1 }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("Temperature"));
        Assert.That(() => engine.Submit([1], new SamplingParameters { TopP = 0 }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("TopP"));
        Assert.That(() => engine.Submit([1], new SamplingParameters { MaxNewTokens = 4, StopTokenIds = [-1] }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("-1"));
        Assert.That(() => new LlmEngine(new SimulatedModel(new SimulatedBackend(), 64), [], new EngineOptions { MaxContext = 65 }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("65"));
        Assert.That(() => new LlmEngine(new SimulatedModel(new SimulatedBackend(), 64), [], new EngineOptions { CacheBytes = 8 }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("CacheBytes"));
        Assert.That(() => new LlmEngine(new SimulatedModel(new SimulatedBackend(), 64), [], new EngineOptions { CacheTokens = 64, CacheBytes = 4096 }), Throws.ArgumentException.With.Message.Contains("CacheTokens is 64 and CacheBytes is 4096"));
        Assert.That(() => new LlmEngine(new SimulatedModel(new SimulatedBackend(), 64), [], new EngineOptions { TokenBudget = 0 }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("TokenBudget"));
    }

    [Test]
    public void Submit_PromptOfMaxLength_IsRefusedByName()
    {
        using LlmEngine engine = new(new SimulatedModel(new SimulatedBackend()), [], new EngineOptions { TokenBudget = 8, CacheTokens = 32 });
        Assert.That(() => engine.Submit([1, 2, 3], SamplingParameters.Greedy with { MaxLength = 3 }), Throws.ArgumentException.With.Message.Contains("MaxLength"));
        Assert.That(() => engine.Submit([1], SamplingParameters.Greedy with { MaxLength = 0 }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("MaxLength"));
    }

    [TestCase(-1)]
    [TestCase(3)]
    public void CopyTokens_BeyondWhatHasCome_IsRefusedByName(int first)
    {
        using LlmEngine engine = new(new SimulatedModel(new SimulatedBackend()), [], new EngineOptions { TokenBudget = 8, CacheTokens = 32 });
        GenerationRequest request = engine.Submit([1], SamplingParameters.Greedy with { MaxNewTokens = 2 });
        request.Wait(int.MaxValue);
        Assert.That(() => request.CopyTokens(first, new int[4]), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("first"));
        Assert.That(request.CopyTokens(2, new int[4]), Is.Zero);
    }
}
