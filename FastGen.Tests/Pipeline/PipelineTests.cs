using System.Buffers;
using System.Diagnostics;
using System.Text.Json;
using FastGen.Models;
using Microsoft.ML.Tokenizers;

namespace FastGen.Tests;

public sealed class PipelineTests
{
    private static readonly SamplingParameters Short = SamplingParameters.Greedy with { MaxNewTokens = 24 };

    private static readonly string[] Openings = ["Once upon a time", "One rainy morning", "Mia", "The little fox", "Once upon a time", "There was a"];

    private Pipeline _pipeline = null!;

    [OneTimeSetUp]
    public void Load() => _pipeline = Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Engine = new EngineOptions { TokenBudget = 64, CacheTokens = 4096 } });

    [OneTimeTearDown]
    public void Free() => _pipeline.Dispose();

    [TearDown]
    public void NothingIsLeft() => LlmEngineTests.AssertIdle(_pipeline.Engine);

    [Test]
    public void Generate_DefaultModel_GivesTheTokensOfTransformers()
    {
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(DefaultModel.Folder, "expected.json")));
        foreach (JsonElement golden in expected.RootElement.GetProperty("cases").EnumerateArray())
        {
            int[] prompt = [.. golden.GetProperty("prompt").EnumerateArray().Select(id => id.GetInt32())];
            int[] greedy = [.. golden.GetProperty("greedy").EnumerateArray().Select(id => id.GetInt32())];
            GenerationResult result = _pipeline.Generate(prompt, SamplingParameters.Greedy with { MaxNewTokens = greedy.Length });
            Assert.That(result.TokenIds, Is.EqualTo(greedy));
        }
    }

    [Test]
    public void Generate_SeveralPrompts_AnswersInOrderAsAlone()
    {
        IReadOnlyList<GenerationResult> together = _pipeline.Generate(Openings, Short);
        Assert.That(together, Has.Count.EqualTo(Openings.Length));
        for (int i = 0; i < Openings.Length; i++)
        {
            GenerationResult alone = _pipeline.Generate(Openings[i], Short);
            Assert.That(together[i].TokenIds, Is.EqualTo(alone.TokenIds));
            Assert.That(together[i].Text, Is.EqualTo(alone.Text).And.Not.Empty);
            Assert.That(alone.FinishReason, Is.EqualTo(FinishReason.Length));
            Assert.That(alone.GeneratedTokens, Is.EqualTo(24));
        }
    }

    [Test]
    public void Generate_PerPromptParameters_EachKeepsItsOwn()
    {
        IReadOnlyList<GenerationResult> results = _pipeline.Generate(
            [Prompt.FromText("Once", Short with { MaxNewTokens = 3 }), Prompt.FromTokenIds([1, 2, 3], Short with { MaxNewTokens = 5 }), "Once"],
            Short with { MaxNewTokens = 7 });
        Assert.That(results.Select(result => result.GeneratedTokens), Is.EqualTo((int[])[3, 5, 7]));
    }

    [Test]
    public void Generate_SameSeed_SameTextWhoeverSharesTheBatch()
    {
        SamplingParameters sampling = new() { Temperature = 1, TopP = 0.95f, TopK = 50, Seed = 7, MaxNewTokens = 40 };
        string alone = _pipeline.Generate("Once upon a time", sampling).Text;
        IReadOnlyList<GenerationResult> shared = _pipeline.Generate(Openings, sampling);
        Assert.That(shared[0].Text, Is.EqualTo(alone));
        Assert.That(shared[4].Text, Is.EqualTo(alone));
        Assert.That(_pipeline.Generate("Once upon a time", sampling with { Seed = 8 }).Text, Is.Not.EqualTo(alone));
    }

    [Test]
    public async Task StreamAsync_Pieces_AreTheWholeText()
    {
        SamplingParameters sampling = Short with { MaxNewTokens = 60 };
        List<string> pieces = [];
        GenerationResult? result = null;
        await foreach (GenerationPiece piece in _pipeline.StreamAsync("Once upon a time", sampling))
        {
            Assert.That(result, Is.Null, "The result comes with the last piece.");
            pieces.Add(piece.Text);
            result = piece.Result;
        }
        Assert.That(result, Is.Not.Null);
        Assert.That(string.Concat(pieces), Is.EqualTo(result!.Text));
        Assert.That(result.Text, Is.EqualTo(_pipeline.Generate("Once upon a time", sampling).Text));
    }

    [Test]
    public async Task LogProbabilities_GenerateAndStream_GiveTheSameForEachToken([Values(0, 1, 5)] int top)
    {
        SamplingParameters sampling = new() { Temperature = 0.8f, TopP = 0.9f, RepetitionPenalty = 1.2f, Seed = 5, MaxNewTokens = 40, LogProbabilities = true, TopLogProbabilities = top };
        IReadOnlyList<GenerationResult> results = _pipeline.Generate([.. Openings.Select(text => Prompt.FromText(text)), Prompt.FromText("Mia", Short)], sampling);
        Assert.That(results[^1].LogProbabilities, Is.Empty, "It did not ask.");
        GenerationResult alone = results[0];
        Assert.That(alone.LogProbabilities.Select(entry => entry.Chosen.TokenId), Is.EqualTo(alone.TokenIds));
        foreach (TokenLogProbabilities entry in alone.LogProbabilities)
        {
            Assert.That(entry.Top, Has.Count.EqualTo(top));
            Assert.That(entry.Top.Select(token => token.LogProbability), Is.Ordered.Descending);
            Assert.That(entry.Chosen.LogProbability, Is.LessThanOrEqualTo(top > 0 ? entry.Top[0].LogProbability : 0));
            Assert.That(entry.Top.Where(token => token.TokenId == entry.Chosen.TokenId).All(token => token == entry.Chosen), "The chosen one among the most likely is the same entry.");
            Assert.That(entry.Top.Sum(token => Math.Exp(token.LogProbability)), Is.LessThan(1.00001));
            Assert.That(_pipeline.Tokenizer!.Decode([entry.Chosen.TokenId]), Is.Not.Null);
        }
        List<TokenLogProbabilities> streamed = [];
        await foreach (GenerationPiece piece in _pipeline.StreamAsync(Openings[0], sampling)) streamed.AddRange(piece.LogProbabilities);
        Assert.That(streamed.Select(entry => (entry.Chosen, string.Join(' ', entry.Top))), Is.EqualTo(alone.LogProbabilities.Select(entry => (entry.Chosen, string.Join(' ', entry.Top)))));
    }

    [Test]
    public async Task LogProbabilities_TextEndedByAStopString_CoverTheTokensOfTheResult()
    {
        SamplingParameters sampling = Short with { MaxNewTokens = 60, LogProbabilities = true, StopStrings = ["a"] };
        int given = 0;
        GenerationResult? result = null;
        await foreach (GenerationPiece piece in _pipeline.StreamAsync("Once upon a time", sampling))
        {
            given += piece.LogProbabilities.Count;
            result = piece.Result;
        }
        Assert.That(result!.FinishReason, Is.EqualTo(FinishReason.Stop));
        Assert.That((given, result.LogProbabilities.Count), Is.EqualTo((result.GeneratedTokens, result.GeneratedTokens)));
        Assert.That(default(GenerationPiece).LogProbabilities, Is.Empty);
    }

    [TestCase(-1)]
    [TestCase(21)]
    public void LogProbabilities_TopOutOfRange_IsRefusedByName(int top) =>
        Assert.That(() => _pipeline.Generate("Once", Short with { TopLogProbabilities = top }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("TopLogProbabilities must be from 0 to 20").And.Message.Contains($"{top}"));

    [Test]
    public async Task StopStrings_EndTheTextBeforeThem([Values(1, 2, 5)] int words)
    {
        SamplingParameters sampling = Short with { MaxNewTokens = 60 };
        string full = _pipeline.Generate("Once upon a time", sampling).Text;
        string stop = string.Join(' ', full.Split(' ', StringSplitOptions.RemoveEmptyEntries).Skip(6).Take(words));
        string expected = full[..full.IndexOf(stop, StringComparison.Ordinal)];
        GenerationResult result = _pipeline.Generate("Once upon a time", sampling with { StopStrings = ["never in a story", stop] });
        Assert.That(result.Text, Is.EqualTo(expected));
        Assert.That(result.FinishReason, Is.EqualTo(FinishReason.Stop));
        string streamed = "";
        await foreach (GenerationPiece piece in _pipeline.StreamAsync("Once upon a time", sampling with { StopStrings = [stop] })) streamed += piece.Text;
        Assert.That(streamed, Is.EqualTo(expected));
    }

    [Test]
    public void StopStrings_OfPromptsBehindALongOne_EndThemWithoutWaitingForIt()
    {
        SamplingParameters endless = SamplingParameters.Greedy with { MaxNewTokens = null, IgnoreEndOfSequence = true };
        IReadOnlyList<GenerationResult> results = _pipeline.Generate([Prompt.FromText("Once upon a time", endless), .. Openings.Select(text => Prompt.FromText(text))], endless with { StopStrings = ["a"] });
        Assert.That(results.Skip(1).Select(result => result.FinishReason), Is.All.EqualTo(FinishReason.Stop));
        Assert.That(results.Skip(1).Select(result => result.Timings.Total), Is.All.LessThan(results[0].Timings.Total));
    }

    [Test]
    public void GenerateAsync_OneOfSeveralFails_EndsTheOthers()
    {
        SamplingParameters endless = SamplingParameters.Greedy with { MaxNewTokens = null, IgnoreEndOfSequence = true };
        // Nothing may be drawn: every token would end it, and it must not end yet.
        int vocabulary = ModelConfig.Read(Path.Combine(DefaultModel.Folder, "config.json")).VocabularySize;
        SamplingParameters impossible = endless with { MaxNewTokens = 9, MinNewTokens = 5, StopTokenIds = [.. Enumerable.Range(0, vocabulary)] };
        long before = _pipeline.Engine.Statistics.GeneratedTokens;
        Assert.That(() => _pipeline.GenerateAsync([Prompt.FromText("Once upon a time", endless), Prompt.FromText("Mia", impossible)]), Throws.TypeOf<GenerationException>());
        LlmEngineTests.AssertIdle(_pipeline.Engine);
        Assert.That(_pipeline.Engine.Statistics.GeneratedTokens - before, Is.LessThan(_pipeline.Engine.MaxContext / 2));
    }

    [Test]
    public void StopStrings_CompletedByHeldBackText_EndByStop()
    {
        using Pipeline pipeline = Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Tokenizer = new HalfCharacters(), Engine = new EngineOptions { TokenBudget = 32, CacheTokens = 512 } });
        GenerationResult result = pipeline.Generate(new int[] { 1 }, SamplingParameters.Greedy with { MaxNewTokens = 3, StopStrings = ["\uFFFD"] });
        Assert.That((result.Text, result.FinishReason), Is.EqualTo(("aaa", FinishReason.Stop)));
    }

    [Test]
    public async Task GenerateAsync_ManyThreads_ShareTheEngine()
    {
        string expected = _pipeline.Generate("One rainy morning", Short).Text;
        GenerationResult[] results = await Task.WhenAll(Enumerable.Range(0, 32).Select(_ => Task.Run(() => _pipeline.GenerateAsync("One rainy morning", Short))));
        Assert.That(results.Select(result => result.Text), Is.All.EqualTo(expected));
    }

    [Test]
    public void Generate_ManyBlockingCallersOnThePool_DoNotWaitForItsThreads()
    {
        // Were the engine to wake them through the pool, each would wait until the pool has a thread for all of them, seconds later.
        Stopwatch elapsed = Stopwatch.StartNew();
        Task<GenerationResult>[] callers = [.. Enumerable.Range(0, 64).Select(_ => Task.Run(() => _pipeline.Generate("Mia", Short with { MaxNewTokens = 2 })))];
        Assert.That(Task.WaitAny(callers), Is.GreaterThanOrEqualTo(0));
        Assert.That(elapsed.Elapsed, Is.LessThan(TimeSpan.FromSeconds(5)), "The first to start is the first to end, whoever waits behind it.");
        Task.WaitAll(callers);
    }

    [Test]
    public void Generate_Cancelled_EndsTheBlockedCaller()
    {
        using CancellationTokenSource source = new(20);
        SamplingParameters endless = SamplingParameters.Greedy with { MaxNewTokens = null, IgnoreEndOfSequence = true };
        GenerationCanceledException exception = Assert.Throws<GenerationCanceledException>(() => _pipeline.Generate(Enumerable.Repeat("Once upon a time", 20), endless, source.Token))!;
        Assert.That(exception.Results, Has.Count.EqualTo(20));
    }

    [Test]
    public void Generate_NoPrompts_IsRefusedByName()
    {
        Assert.That(() => _pipeline.Generate((IEnumerable<Prompt>)null!), Throws.ArgumentNullException.With.Message.Contains("prompts"));
        Assert.That(() => _pipeline.GenerateAsync((IEnumerable<string>)null!), Throws.ArgumentNullException.With.Message.Contains("prompts"));
        Assert.That(_pipeline.Generate(Array.Empty<string>()), Is.Empty);
    }

    [Test]
    public async Task GenerateAsync_Cancelled_KeepsWhatWasGenerated()
    {
        using CancellationTokenSource source = new();
        SamplingParameters endless = SamplingParameters.Greedy with { MaxNewTokens = null, IgnoreEndOfSequence = true };
        Task<GenerationResult> running = _pipeline.GenerateAsync("Once upon a time", endless, source.Token);
        while (_pipeline.Engine.Statistics.RunningRequests == 0) await Task.Delay(1);
        await source.CancelAsync();
        try
        {
            GenerationResult result = await running;
            Assert.That(result.FinishReason, Is.EqualTo(FinishReason.Length), "It can only have ended before.");
        }
        catch (GenerationCanceledException exception)
        {
            Assert.That(exception.Results.Single().FinishReason, Is.EqualTo(FinishReason.Cancelled));
            Assert.That(exception.CancellationToken, Is.EqualTo(source.Token));
        }
    }

    [Test]
    public async Task StreamAsync_ThousandAbandoned_LeaveAllBlocksFree()
    {
        for (int i = 0; i < 1000; i++)
        {
            await foreach (GenerationPiece _ in _pipeline.StreamAsync(new int[] { 1 + (i % 200) }, SamplingParameters.Greedy with { MaxNewTokens = 300, IgnoreEndOfSequence = true })) break;
        }
        LlmEngineTests.AssertIdle(_pipeline.Engine);
    }

    [Test]
    public void Generate_BadInput_IsRefusedByName()
    {
        Assert.That(() => _pipeline.Generate(new int[] { 1, 999_999 }), Throws.ArgumentException.With.Message.Contains("999999"));
        Assert.That(() => _pipeline.Generate(Array.Empty<int>()), Throws.ArgumentException.With.Message.Contains("empty"));
        Assert.That(() => _pipeline.Generate("Once", Short with { TopK = -3 }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("TopK").And.Message.Contains("-3"));
        Assert.That(() => _pipeline.Generate("Once", Short with { Temperature = float.PositiveInfinity }), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("Temperature must be a finite number"));
        Assert.That(() => _pipeline.Generate("Once", Short with { StopStrings = [null!] }), Throws.ArgumentException.With.Message.Contains("StopStrings[0] is null"));
        Assert.That(() => _pipeline.Generate("Once", Short with { StopStrings = [""] }), Throws.ArgumentException.With.Message.Contains("StopStrings").And.Message.Contains("empty"));
        string[] prompts = ["Once", string.Concat(Enumerable.Repeat("Once upon a time ", 2000))];
        Assert.That(() => _pipeline.Generate(prompts, Short), Throws.ArgumentException.With.Message.Contains(_pipeline.Engine.MaxContext.ToString(System.Globalization.CultureInfo.InvariantCulture)));
        Assert.That(() => _pipeline.Generate([null!, "Once"], Short), Throws.TypeOf<ArgumentNullException>());
    }

    [Test]
    public void Chat_ModelWithoutTemplate_RefusesWithTheRemedy() =>
        Assert.That(() => _pipeline.Chat([new ChatMessage("user", "Hello")]), Throws.InvalidOperationException.With.Message.Contains("chat template"));

    [Test]
    public void Load_BadFolders_SayWhatIsMissing()
    {
        Assert.That(() => Pipeline.Load("no/such/folder"), Throws.TypeOf<Models.ModelLoadException>().With.Message.Contains("no/such/folder"));
        string empty = Directory.CreateTempSubdirectory("fastgen-empty-").FullName;
        Assert.That(() => Pipeline.Load(empty), Throws.TypeOf<Models.ModelLoadException>().With.Message.Contains("config.json"));
        Directory.Delete(empty);
        Assert.That(() => Pipeline.Load(" "), Throws.ArgumentException);
    }

    [Test]
    public async Task Dispose_WhileGenerating_EndsTheCaller()
    {
        Pipeline pipeline = Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Engine = new EngineOptions { TokenBudget = 64, CacheTokens = 1024 } });
        Task<GenerationResult>[] running = [.. Enumerable.Range(0, 8).Select(_ => pipeline.GenerateAsync("Once upon a time", SamplingParameters.Greedy with { MaxNewTokens = null, IgnoreEndOfSequence = true }))];
        while (pipeline.Engine.Statistics.RunningRequests == 0) await Task.Delay(1);
        pipeline.Dispose();
        foreach (Task<GenerationResult> task in running) await Assert.ThrowsAsync<ObjectDisposedException>(() => task);
        Assert.That(() => pipeline.Generate("Once"), Throws.TypeOf<ObjectDisposedException>());
        pipeline.Dispose();
    }

    [Test]
    public void Load_TwoPipelinesAtOnce_DoNotDisturbEachOther()
    {
        using Pipeline other = Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Engine = new EngineOptions { TokenBudget = 32, CacheTokens = 512 } });
        IReadOnlyList<GenerationResult>[] both = [[], []];
        Parallel.Invoke(() => both[0] = _pipeline.Generate(Openings, Short), () => both[1] = other.Generate(Openings, Short));
        Assert.That(both[1].Select(result => result.Text), Is.EqualTo(both[0].Select(result => result.Text)), "Another budget and cache give the same text.");
    }

    [Test]
    public async Task LoadAsync_CancelledOrWatched_Obeys()
    {
        List<Models.LoadProgress> seen = [];
        using (Pipeline pipeline = await Pipeline.LoadAsync(DefaultModel.Folder, progress: new Recorder(seen)))
        {
            Assert.That(seen, Is.Not.Empty);
            Assert.That(seen[^1].BytesLoaded, Is.EqualTo(seen[^1].TotalBytes));
        }
        using CancellationTokenSource source = new();
        await Assert.CatchAsync<OperationCanceledException>(() => Pipeline.LoadAsync(DefaultModel.Folder, progress: new Canceller(source), cancellationToken: source.Token));
    }

    [Test]
    public async Task LoadAsync_CancelledOnceTheWeightsAreThere_EndsBeforeCalibration()
    {
        using CancellationTokenSource source = new();
        await Assert.CatchAsync<OperationCanceledException>(() => Pipeline.LoadAsync(DefaultModel.Folder, new PipelineOptions { Device = ComputeDevice.Cpu }, new Canceller(source, atEnd: true), source.Token));
    }

    /// <summary>Every id is a letter and the first byte of a character that never ends.</summary>
    private sealed class HalfCharacters : Tokenizer
    {
        public override string Decode(IEnumerable<int> ids) => new string('a', ids.Count()) + '\uFFFD';

        public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten) => throw new NotSupportedException();

        protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings) => throw new NotSupportedException();
    }

    private sealed class Recorder(List<Models.LoadProgress> seen) : IProgress<Models.LoadProgress>
    {
        public void Report(Models.LoadProgress value) => seen.Add(value);
    }

    private sealed class Canceller(CancellationTokenSource source, bool atEnd = false) : IProgress<Models.LoadProgress>
    {
        public void Report(Models.LoadProgress value)
        {
            if (!atEnd || value.BytesLoaded == value.TotalBytes) source.Cancel();
        }
    }
}
