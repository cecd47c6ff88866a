using System.Text;
using System.Text.Json;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>The kit's published tokenizers read from every form in which a folder has them.</summary>
[TestFixture]
[Parallelizable(ParallelScope.All)]
internal sealed class TokenizerFormatsTests
{
    [TestCaseSource(nameof(FoldersWith), new object[] { "tokenizer.model" })]
    public void Load_TokenizerModel_GivesTheIdsOfTheFile(string? folder)
    {
        // A SentencePiece model without configuration is SentencePiece itself; lists of byte strings need the configuration's special tokens.
        string path = TokenizerKit.PathOf(folder);
        bool isSentencePiece = File.ReadAllBytes(Path.Combine(path, "tokenizer.model"))[0] == 0x0A;
        using TemporaryFolder copy = new(path, isSentencePiece ? ["tokenizer.model"] : ["tokenizer.model", "tokenizer_config.json"]);
        CheckGoldens(path, copy.Path, golden => TokenizerKit.Ids(golden, golden.TryGetProperty("sentencepiece_ids", out _) ? "sentencepiece_ids" : "ids"));
    }

    [TestCaseSource(nameof(FoldersWith), new object[] { "tokenizer.model" })]
    public void Load_TokenizerModelNotLegacy_GivesHuggingFaceIds(string? folder)
    {
        string path = TokenizerKit.PathOf(folder);
        JsonElement[] goldens = [.. TokenizerKit.Cases(path, "goldens.json").Where(golden => golden.TryGetProperty("sentencepiece_ids", out _))];
        if (goldens.Length == 0) Assert.Ignore("No golden tells the two apart.");
        using TemporaryFolder copy = new(path, ["tokenizer.model"]);
        copy.Write("tokenizer_config.json", """{"legacy": false, "tokenizer_class": "LlamaTokenizer"}""");
        HuggingFaceTokenizer tokenizer = TokenizerLoader.Load(copy.Path);
        foreach (JsonElement golden in goldens)
        {
            string text = golden.GetProperty("text").GetString()!;
            IReadOnlyList<int> ids = tokenizer.EncodeToIds(text);
            Assert.That(ids, Is.EqualTo(TokenizerKit.Ids(golden, "ids")), JsonSerializer.Serialize(text));
        }
    }

    [TestCaseSource(nameof(FoldersWith), new object[] { "merges.txt" })]
    public void Load_VocabularyAndMerges_GivesTheGoldenIds(string? folder)
    {
        string path = TokenizerKit.PathOf(folder);
        using TemporaryFolder copy = new(path, ["vocab.json", "merges.txt", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"]);
        CheckGoldens(path, copy.Path, golden => TokenizerKit.Ids(golden, "ids"));
    }

    [TestCaseSource(nameof(FoldersWith), new object[] { "merges.txt" })]
    public void Load_MergesWithCarriageReturns_GivesTheGoldenIds(string? folder)
    {
        string path = TokenizerKit.PathOf(folder);
        using TemporaryFolder copy = new(path, ["vocab.json", "merges.txt", "tokenizer_config.json", "added_tokens.json"]);
        copy.Write("merges.txt", File.ReadAllText(Path.Combine(path, "merges.txt")).ReplaceLineEndings("\r\n"));
        CheckGoldens(path, copy.Path, golden => TokenizerKit.Ids(golden, "ids"));
    }

    [TestCaseSource(nameof(FoldersWith), new object[] { "qwen.tiktoken" })]
    public void Load_QwenTiktoken_GivesTheGoldenIdsAndKnowsTheSpecialTokens(string? folder)
    {
        string path = TokenizerKit.PathOf(folder);
        using TemporaryFolder copy = new(path, ["qwen.tiktoken", "tokenizer_config.json"]);
        CheckGoldens(path, copy.Path, golden => TokenizerKit.Ids(golden, "ids"));
        HuggingFaceTokenizer tokenizer = TokenizerLoader.Load(copy.Path);
        Assert.That(tokenizer.Encode("<|im_start|>a<|im_end|><|extra_204|>"), Is.EqualTo(new[] { 151644, 64, 151645, 151850 }));
        Assert.That(tokenizer.EndOfSentenceId, Is.EqualTo(151643));
    }

    [TestCaseSource(nameof(FoldersWith), new object[] { "goldens.json" })]
    public void Load_PublishedFolderAsItIs_GivesTheGoldenIds(string? folder)
    {
        string path = TokenizerKit.PathOf(folder);
        if (TokenizerKit.JsonFile(path) is { } json && Path.GetFileName(json) != "tokenizer.json") Assert.Ignore("Its tokenizer.json is a derived one.");
        CheckGoldens(path, path, golden => TokenizerKit.Ids(golden, "ids"));
    }

    [Test]
    public void Load_OptWithConfiguration_KnowsOnlyTheSpecialTokensThatItNames()
    {
        using TemporaryFolder folder = new();
        folder.Write("vocab.json", """{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<": 4, "u": 5, "n": 6, "k": 7, ">": 8}""");
        folder.Write("merges.txt", "#version: 0.2\n");
        Assert.That(TokenizerLoader.Load(folder.Path).Encode("<unk><pad>"), Is.EqualTo(new[] { 2, 3, 1 }));

        folder.Write("tokenizer_config.json", """{"tokenizer_class": "GPT2Tokenizer", "add_bos_token": true, "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}""");
        Assert.That(TokenizerLoader.Load(folder.Path).Encode("<unk><pad>"), Is.EqualTo(new[] { 2, 4, 5, 6, 7, 8, 1 }));
    }

    [Test]
    public void Load_SentencePieceModelThatRemovesSpaces_KeepsOtherWhiteSpace()
    {
        using TemporaryFolder folder = new();
        WriteSentencePieceModel(folder, ("\u2581", -1), ("\n", -2), ("a", -3));

        Assert.That(TokenizerLoader.Load(folder.Path).Encode("  \na  a "), Is.EqualTo(new[] { 1, 2, 3, 1, 3 }));
    }

    [Test]
    public void Load_SentencePieceModelWithEqualScores_MergesTheLongerRightPartFirst()
    {
        using TemporaryFolder folder = new();
        WriteSentencePieceModel(folder, ("\u2581", -1), ("a", -2), ("b", -3), ("c", -4), ("cc", 1), ("ab", 0), ("bcc", 0));

        Assert.That(TokenizerLoader.Load(folder.Path).Encode("abcc"), Is.EqualTo(new[] { 1, 2, 7 }));
    }

    /// <summary>A byte-pair model of an unknown token and <paramref name="pieces"/>; the normalization is the default one.</summary>
    private static void WriteSentencePieceModel(TemporaryFolder folder, params (string Text, float Score)[] pieces)
    {
        static byte[] Field(int number, byte[] content) => [(byte)((number << 3) | 2), (byte)content.Length, .. content];
        static byte[] Piece(string text, float score, byte type) => Field(1, [.. Field(1, Encoding.UTF8.GetBytes(text)), 0x15, .. BitConverter.GetBytes(score), 0x18, type]);
        byte[] model = [.. Piece("<unk>", 0, 2), .. pieces.SelectMany(piece => Piece(piece.Text, piece.Score, 1)), .. Field(2, [0x18, 2])];
        File.WriteAllBytes(Path.Combine(folder.Path, "tokenizer.model"), model);
    }

    private static void CheckGoldens(string path, string copy, Func<JsonElement, int[]> expectedIds)
    {
        HuggingFaceTokenizer tokenizer = TokenizerLoader.Load(copy);
        List<string> failures = [];
        IReadOnlyList<JsonElement> goldens = TokenizerKit.Cases(path, "goldens.json");
        foreach (JsonElement golden in goldens)
        {
            string text = golden.GetProperty("text").GetString()!;
            IReadOnlyList<int> actual = tokenizer.Encode(text, golden.GetProperty("add_special_tokens").GetBoolean());
            int[] expected = expectedIds(golden);
            if (!actual.SequenceEqual(expected)) failures.Add($"{JsonSerializer.Serialize(text)}: expected [{string.Join(' ', expected)}], got [{string.Join(' ', actual)}]");
        }
        TestContext.Out.WriteLine($"{goldens.Count - failures.Count} of {goldens.Count}");
        Assert.That(failures, Is.Empty, string.Join('\n', failures.Take(10)));
    }

    private static IEnumerable<string?> FoldersWith(string file) => ConformanceKit.Root is null
        ? [null]
        : TokenizerKit.Folders().Where(folder => folder!.StartsWith("published/", StringComparison.Ordinal) && File.Exists(Path.Combine(ConformanceKit.Root, "tokenizers", folder, file)));
}
