using System.Buffers;
using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using FastGen.Models;
using Microsoft.ML.Tokenizers;

namespace FastGen.Tests;

/// <summary>The public surface, on small tokenizers written here.</summary>
[TestFixture]
[Parallelizable(ParallelScope.All)]
internal sealed class HuggingFaceTokenizerTests
{
    private const string ByteLevel = """
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}, "decoder": {"type": "ByteLevel"},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [260]}}},
        "added_tokens": [{"id": 260, "content": "<s>", "special": true}, {"id": 261, "content": "<tool>", "special": false}]
        """;

    private static readonly HuggingFaceTokenizer Tokenizer = Load(ByteLevel, "\u0120h", "el", "lo", "\u0120w");

    [Test]
    public void Encode_WithAndWithoutSpecialTokens_AddsThemOnlyWhenAsked()
    {
        Assert.That(Tokenizer.Encode("a"), Is.EqualTo(new[] { 260, 'a' }));
        Assert.That(Tokenizer.Encode("a", addSpecialTokens: false), Is.EqualTo(new[] { (int)'a' }));
        Assert.That(Tokenizer.EncodeToIds("a"), Is.EqualTo(new[] { (int)'a' }));
        Assert.That(Tokenizer.EncodeToIds("<s>a"), Is.EqualTo(new[] { 260, 'a' }), "written out they are recognised");
        Assert.That(Tokenizer.CountTokens("hello"), Is.EqualTo(3));
    }

    [Test]
    public void Decode_SpecialTokens_SkippedUnlessAsked()
    {
        int[] ids = [260, 'a', 261, 9999, -1];
        Assert.That(Tokenizer.Decode(ids), Is.EqualTo("a<tool>"));
        Assert.That(Tokenizer.Decode((IEnumerable<int>)ids), Is.EqualTo("a<tool>"));
        Assert.That(Tokenizer.Decode(ids, skipSpecialTokens: false), Is.EqualTo("<s>a<tool>"));
        Assert.That(((Tokenizer)Tokenizer).Decode(ids), Is.EqualTo("a<tool>"));
    }

    [Test]
    public void EncodeToTokens_Text_OffsetsCoverWholeCharacters()
    {
        const string Text = "h\u00E9llo <s> \U0001F680 hw";
        IReadOnlyList<EncodedToken> tokens = Tokenizer.EncodeToTokens(Text, out string? normalized);
        Assert.That(normalized, Is.Null);
        Assert.That(tokens.Select(token => token.Id), Is.EqualTo(Tokenizer.EncodeToIds(Text)));
        Assert.That(Text[tokens[0].Offset], Is.EqualTo("h"));
        Assert.That(Text[tokens[1].Offset], Is.EqualTo("\u00E9"), "the first of its two bytes");
        Assert.That(Text[tokens[2].Offset], Is.EqualTo("\u00E9"));
        Assert.That(tokens.Select(token => Text[token.Offset]), Does.Contain("<s>").And.Contain("\U0001F680"));
        Assert.That(tokens.Zip(tokens.Skip(1)).All(pair => pair.First.Offset.Start.Value <= pair.Second.Offset.Start.Value));
        Assert.That(tokens[^1].Offset.End.Value, Is.EqualTo(Text.Length));
    }

    [Test]
    public void EncodeToTokens_NormalizedText_OffsetsReferToIt()
    {
        HuggingFaceTokenizer tokenizer = Load("""
            "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Metaspace", "replacement": "_"}]}
            """, "_h");
        IReadOnlyList<EncodedToken> tokens = tokenizer.EncodeToTokens("HE Y", out string? normalized);
        Assert.That(normalized, Is.EqualTo("he y"));
        Assert.That(tokens.Select(token => token.Value), Is.EqualTo(new[] { "_h", "e", "_", "y" }));
        Assert.That(tokens.Select(token => normalized![token.Offset]), Is.EqualTo(new[] { "h", "e", " ", "y" }));
    }

    [TestCase("h", "_h")]
    [TestCase(" h", "h")]
    [TestCase("\u0301h", "h")]
    [TestCase("\u0301 h", "_h")]
    [TestCase("<s>h", "<s> h")]
    public void EncodeToTokens_NormalizerThatDropsTheStart_LeavesNoStartToPrependTo(string text, string expected)
    {
        HuggingFaceTokenizer tokenizer = Load("""
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Strip"}, {"type": "NFD"}, {"type": "StripAccents"}]},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"}, "added_tokens": [{"id": 300, "content": "<s>", "special": true}]
            """, "_h");
        Assert.That(string.Join(' ', tokenizer.EncodeToTokens(text, out _).Select(token => token.Value)), Is.EqualTo(expected));
    }

    [Test]
    public void EncodeToIds_AtMostSoManyTokens_TellsHowFarItCame()
    {
        IReadOnlyList<int> ids = Tokenizer.EncodeToIds("hello hello", 4, out _, out int consumed);
        Assert.That(ids, Is.EqualTo(Tokenizer.EncodeToIds("hello h")));
        Assert.That(consumed, Is.EqualTo("hello h".Length));
        Assert.That(Tokenizer.GetIndexByTokenCount("hello hello", 4, out _, out int count), Is.EqualTo("hello h".Length));
        Assert.That(count, Is.EqualTo(4));
    }

    [Test]
    public void Decode_IntoBuffer_StopsAtWholeCharacters()
    {
        int[] ids = [.. Tokenizer.EncodeToIds("h\u00E9")];
        Span<char> buffer = stackalloc char[8];
        Assert.That(Tokenizer.Decode(ids, buffer, out int consumed, out int written), Is.EqualTo(OperationStatus.Done));
        Assert.That((consumed, written, buffer[..written].ToString()), Is.EqualTo((3, 2, "h\u00E9")));
        Assert.That(Tokenizer.Decode(ids[..2], buffer, out consumed, out written), Is.EqualTo(OperationStatus.NeedMoreData));
        Assert.That((consumed, written), Is.EqualTo((1, 1)));
        Assert.That(Tokenizer.Decode(ids, buffer[..1], out consumed, out written), Is.EqualTo(OperationStatus.DestinationTooSmall));
        Assert.That((consumed, written), Is.EqualTo((1, 1)));
    }

    [Test]
    public void TokensAndIds_LookUps_GoBothWays()
    {
        Assert.That(Tokenizer.IdToToken(260), Is.EqualTo("<s>"));
        Assert.That(Tokenizer.TokenToId("\u0120h"), Is.EqualTo(256));
        Assert.That(Tokenizer.TokenToId("absent"), Is.Null);
        Assert.That(Tokenizer.IdToToken(-1), Is.Null);
        Assert.That(Tokenizer.IsSpecial(260), Is.True);
        Assert.That(Tokenizer.IsSpecial(261), Is.False);
        Assert.That(Tokenizer.VocabularySize, Is.EqualTo(262));
        Assert.That(Tokenizer.BeginningOfSentenceId, Is.Null);
    }

    [Test]
    public void Encode_LoneSurrogates_CountAsReplacementCharacters() =>
        Assert.That(Tokenizer.Encode("a\uD800b\uDC00"), Is.EqualTo(Tokenizer.Encode("a\uFFFDb\uFFFD")));

    [Test]
    public void Load_Configuration_GivesSpecialTokens()
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", """{"model": {"type": "BPE", "vocab": {"a": 0, "<e>": 1}, "merges": []}}""");
        folder.Write("tokenizer_config.json", """
            {"bos_token": {"content": "<b>"}, "eos_token": "<e>", "added_tokens_decoder": {"5": {"content": "<b>", "special": true}}, "tokenizer_class": "LlamaTokenizer", "add_bos_token": true}
            """);
        HuggingFaceTokenizer tokenizer = TokenizerLoader.Load(folder.Path);
        Assert.That((tokenizer.BeginningOfSentenceId, tokenizer.EndOfSentenceId, tokenizer.IsSpecial(1)), Is.EqualTo((5, 1, true)));
        Assert.That(tokenizer.Encode("a<e>"), Is.EqualTo(new[] { 5, 0, 1 }));
    }

    [TestCase("""{"additional_special_tokens": ["<e>", {"content": "<f>"}]}""")]
    [TestCase("""{"extra_special_tokens": ["<e>", {"content": "<f>"}]}""")]
    [TestCase("""{"extra_special_tokens": {"image_token": "<e>", "audio_token": {"content": "<f>"}}}""")]
    public void Load_OtherSpecialTokens_AreFoundInTheTextAndSkipped(string config)
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", """{"model": {"type": "BPE", "vocab": {"a": 0, "<e>": 1, "<f>": 2}, "merges": []}}""");
        folder.Write("tokenizer_config.json", config);
        HuggingFaceTokenizer tokenizer = TokenizerLoader.Load(folder.Path);
        Assert.That(tokenizer.Encode("<e>a<f>"), Is.EqualTo(new[] { 1, 0, 2 }));
        Assert.That(tokenizer.Decode([1, 0, 2]), Is.EqualTo("a"));
    }

    [Test]
    public void Load_TokenThatTheConfigurationListsAgain_MatchesAsItIsListedThere()
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", """{"added_tokens": [{"id": 1, "content": "<e>", "special": true}, {"id": 2, "content": "f"}], "model": {"type": "BPE", "vocab": {" ": 0, "<e>": 1, "f": 2}, "merges": []}}""");
        HuggingFaceTokenizer plain = TokenizerLoader.Load(folder.Path);
        Assert.That(plain.Encode(" <e> ff"), Is.EqualTo(new[] { 0, 1, 0, 2, 2 }));
        folder.Write("tokenizer_config.json", """{"added_tokens_decoder": {"1": {"content": "<e>", "rstrip": true, "special": false}, "2": {"content": "f", "lstrip": true, "special": true}}}""");

        HuggingFaceTokenizer tokenizer = TokenizerLoader.Load(folder.Path);

        Assert.That(tokenizer.Encode(" <e> f f"), Is.EqualTo(new[] { 0, 1, 2, 2 }));
        Assert.That(tokenizer.Decode([1, 0, 2]), Is.EqualTo(" "));
    }

    [TestCase(true, false, 1)]
    [TestCase(false, true, 200_000)]
    [TestCase(true, true, 1)]
    public void Encode_TokensThatTakeLongWhiteSpace_TakesTimeInProportion(bool stripsLeft, bool stripsRight, int least)
    {
        using TemporaryFolder folder = new();
        JsonObject token = new() { ["id"] = 1, ["content"] = "\n", ["lstrip"] = stripsLeft, ["rstrip"] = stripsRight };
        folder.Write("tokenizer.json", $$$"""{"added_tokens": [{{{token.ToJsonString()}}}], "model": {"type": "BPE", "vocab": {" ": 0, "\n": 1}, "merges": []}}""");
        HuggingFaceTokenizer tokenizer = TokenizerLoader.Load(folder.Path);
        Stopwatch watch = Stopwatch.StartNew();

        Assert.That(tokenizer.Encode(new string('\n', 200_000)), Has.Count.GreaterThanOrEqualTo(least).And.All.EqualTo(1));
        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(5)));
    }

    [Test]
    public void EncodeToTokens_TokensThatShareWhiteSpace_OffsetsReferToTheText()
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", """{"added_tokens": [{"id": 1, "content": "X", "rstrip": true}, {"id": 2, "content": "Y", "lstrip": true}, {"id": 3, "content": "\n", "rstrip": true}], "model": {"type": "BPE", "vocab": {"a": 0, "X": 1, "Y": 2, "\n": 3}, "merges": []}}""");

        IReadOnlyList<EncodedToken> tokens = TokenizerLoader.Load(folder.Path).EncodeToTokens("aX\n  \n Ya", out string? normalized);

        Assert.That(normalized, Is.Null);
        Assert.That(tokens.Select(token => (token.Id, "aX\n  \n Ya"[token.Offset])), Is.EqualTo(new[] { (0, "a"), (1, "X\n  \n "), (3, "\n  \n "), (3, "\n "), (2, "Y"), (0, "a") }));
    }

    [Test]
    public void Encode_ManyThreads_GiveTheSameIds()
    {
        string[] texts = [.. Enumerable.Range(0, 2000).Select(i => $"hello w{i % 700} lo{i} \u4E2D{i}")];
        IReadOnlyList<int>[] expected = [.. texts.Select(text => Load(ByteLevel, "\u0120h", "el", "lo", "\u0120w").Encode(text)).Take(20)];
        Parallel.For(0, texts.Length, i => Assert.That(Tokenizer.Decode(Tokenizer.Encode(texts[i])), Is.EqualTo(texts[i])));
        for (int i = 0; i < expected.Length; i++) Assert.That(Tokenizer.Encode(texts[i]), Is.EqualTo(expected[i]));
    }

    [TestCaseSource(nameof(TrainedFolders))]
    public void Encode_OneMegabyteOfAnything_TakesBoundedTime(string? folder)
    {
        HuggingFaceTokenizer tokenizer = TokenizerKit.Load(TokenizerKit.PathOf(folder));
        byte[] random = new byte[1 << 20];
        new Random(3).NextBytes(random);
        Dictionary<string, string> texts = new()
        {
            ["one letter"] = new string('a', 1 << 20),
            ["spaces"] = new string(' ', 1 << 20),
            ["random bytes"] = Encoding.Latin1.GetString(random)[..(1 << 19)],
            ["Chinese"] = string.Create(1 << 18, 0, static (characters, _) =>
            {
                for (int i = 0; i < characters.Length; i++) characters[i] = (char)(0x4E00 + (i * 7919 % 20_000));
            }),
        };
        foreach ((string name, string text) in texts)
        {
            Stopwatch watch = Stopwatch.StartNew();
            IReadOnlyList<int> ids = tokenizer.Encode(text, addSpecialTokens: false);
            Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(30)), name);
            Assert.That(ids, Is.Not.Empty);
        }
    }

    // They have every kind of pipeline and small vocabularies.
    private static IEnumerable<string?> TrainedFolders() => ConformanceKit.Root is null ? [null] : TokenizerKit.Folders().Where(folder => folder!.StartsWith("trained/", StringComparison.Ordinal));

    // The vocabulary has the 256 bytes, each with its value as id, and the given tokens behind.
    private static HuggingFaceTokenizer Load(string sections, params string[] tokens)
    {
        IEnumerable<string> vocabulary = Enumerable.Range(0, 256).Select(value => FastGen.Models.Tokenizers.ByteAlphabet.ToCharacter((byte)value).ToString()).Concat(tokens);
        string entries = string.Join(", ", vocabulary.Select((token, id) => $"{System.Text.Json.JsonSerializer.Serialize(token)}: {id}"));
        string merges = string.Join(", ", tokens.Select(token => $"\"{token[0]} {token[1..]}\""));
        using TemporaryFolder folder = new();
        return TokenizerLoader.LoadFile(folder.Write("tokenizer.json", "{" + sections + ", \"model\": {\"type\": \"BPE\", \"vocab\": {" + entries + "}, \"merges\": [" + merges + "]}}"));
    }
}
