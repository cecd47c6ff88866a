using System.Text;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Broken files: an exception that names the file and the field, never a crash or a wrong tokenizer.</summary>
[TestFixture]
[Parallelizable(ParallelScope.All)]
internal sealed class TokenizerFaultTests
{
    private const string Model = """{"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}""";

    [TestCase("""{"model": {"type": "BPE", "vocab": {"a": 0""", "the whole file", "not valid JSON")]
    [TestCase("", "the whole file", "not valid JSON")]
    [TestCase("[]", "the whole file", "object")]
    [TestCase("{}", "model", "absent")]
    [TestCase("""{"model": 3}""", "model", "object")]
    [TestCase("""{"model": {"type": "BPE", "merges": []}}""", "model.vocab", "absent")]
    [TestCase("""{"model": {"type": "BPE", "vocab": {"a": "x"}, "merges": []}}""", "model.vocab[\"a\"]", "token id")]
    [TestCase("""{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}""", "model.vocab[\"a\"]", "token id")]
    [TestCase("""{"model": {"type": "BPE", "vocab": {"a": 4000000000}, "merges": []}}""", "model.vocab[\"a\"]", "token id")]
    [TestCase("""{"model": {"type": "BPE", "vocab": {"a": 0}}}""", "model.merges", "absent")]
    [TestCase("""{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}}""", "model.merges[0]", "'ab'")]
    [TestCase("""{"model": {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": ["a a", "a c"]}}""", "model.merges[1]", "'c'")]
    [TestCase("""{"model": {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": ["aa"]}}""", "model.merges[0]", "two tokens")]
    [TestCase("""{"model": {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": [["a", "a", "a"]]}}""", "model.merges[0]", "two tokens")]
    [TestCase("""{"model": {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": [7]}}""", "model.merges[0]", "two tokens")]
    [TestCase("""{"model": {"type": "BPE", "dropout": 0.1, "vocab": {"a": 0}, "merges": []}}""", "model.dropout", "0.1")]
    [TestCase("""{"model": {"type": "BPE", "fuse_unk": "yes", "vocab": {"a": 0}, "merges": []}}""", "model.fuse_unk", "true or false")]
    [TestCase("""{"model": {"type": "Nonsense", "vocab": {"a": 0}}}""", "model.type", "Nonsense")]
    [TestCase("""{"model": {"type": "Unigram", "vocab": [["a", "b"]]}}""", "model.vocab[0]", "score")]
    [TestCase("""{"model": {"type": "Unigram", "unk_id": 5, "vocab": [["a", 0.5]]}}""", "model.unk_id", "5")]
    [TestCase("""{"model": {"type": "WordPiece", "vocab": {"a": 0}}}""", "model.unk_token", "absent")]
    public void LoadFile_BrokenModel_NamesFileAndField(string json, string field, string problem) => AssertFault(json, field, problem);

    [TestCase("normalizer", """{"type": "Nonsense"}""", "normalizer.type", "Nonsense")]
    [TestCase("normalizer", """{"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend"}]}""", "normalizer.normalizers[1].prepend", "absent")]
    [TestCase("normalizer", """{"type": "Replace", "pattern": {}, "content": ""}""", "normalizer.pattern", "Regex")]
    [TestCase("normalizer", """{"type": "Precompiled", "precompiled_charsmap": "AAAA"}""", "normalizer.precompiled_charsmap", "character map")]
    [TestCase("normalizer", "7", "normalizer", "object")]
    [TestCase("pre_tokenizer", """{"type": "Nonsense"}""", "pre_tokenizer.type", "Nonsense")]
    [TestCase("pre_tokenizer", """{"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"}""", "pre_tokenizer.pattern.Regex", "(a")]
    [TestCase("pre_tokenizer", """{"type": "Split", "pattern": {"Regex": "[[:alpha:]]"}, "behavior": "Isolated"}""", "pre_tokenizer.pattern.Regex", "[[:")]
    [TestCase("pre_tokenizer", """{"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated"}""", "pre_tokenizer.pattern.String", "empty")]
    [TestCase("pre_tokenizer", """{"type": "Split", "pattern": {"String": "a"}, "behavior": "Sometimes"}""", "pre_tokenizer.behavior", "Sometimes")]
    [TestCase("pre_tokenizer", """{"type": "Metaspace", "replacement": "ab"}""", "pre_tokenizer.replacement", "one character")]
    [TestCase("pre_tokenizer", """{"type": "Metaspace", "replacement": "_", "prepend_scheme": "x"}""", "pre_tokenizer.prepend_scheme", "always")]
    [TestCase("post_processor", """{"type": "Nonsense"}""", "post_processor.type", "Nonsense")]
    [TestCase("post_processor", """{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}], "special_tokens": {}}""", "post_processor.single[0].SpecialToken.id", "<s>")]
    [TestCase("post_processor", """{"type": "BertProcessing", "sep": ["a", 1], "cls": 7}""", "post_processor.cls", "array")]
    [TestCase("decoder", """{"type": "Nonsense"}""", "decoder.type", "Nonsense")]
    [TestCase("decoder", """{"type": "Strip", "content": " ", "start": -1, "stop": 0}""", "decoder.start", "-1")]
    [TestCase("added_tokens", """[{"content": "x"}]""", "added_tokens[0].id", "absent")]
    [TestCase("added_tokens", """[{"id": 3, "content": 4}]""", "added_tokens[0].content", "string")]
    public void LoadFile_BrokenComponent_NamesFileAndField(string section, string content, string field, string problem) =>
        AssertFault($$"""{"{{section}}": {{content}}, "model": {{Model}}}""", field, problem);

    [TestCase("tokenizer.json")]
    [TestCase("tokenizer_config.json")]
    public void Load_FileThatIsNoJson_SaysWhatToDo(string name)
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", $$"""{"model": {{Model}}}""");
        string file = folder.Write(name, "version https://git-lfs.github.com/spec/v1");
        Assert.That(() => TokenizerLoader.Load(folder.Path), Throws.TypeOf<TokenizerFileException>().With.Message.Contains(file).And.Message.Contains("get the file again"));
    }

    [TestCase("vocab.json", "merges.txt")]
    [TestCase("merges.txt", "vocab.json")]
    public void TryLoad_HalfOfAPairOfFiles_NamesTheMissingOne(string present, string missing)
    {
        using TemporaryFolder folder = new();
        folder.Write(present, "{}");
        Assert.That(() => TokenizerLoader.TryLoad(folder.Path), Throws.TypeOf<TokenizerFileException>().With.Message.Contains(Path.Combine(folder.Path, missing)).And.Message.Contains(present));
    }

    [TestCase("tokenizer_config.json", new byte[] { 0x9C }, "not valid UTF-8")]
    [TestCase("tokenizer_config.json", new byte[] { (byte)'\\', (byte)'u', (byte)'d', (byte)'8', (byte)'0', (byte)'0' }, "surrogate")]
    [TestCase("config.json", new byte[] { 0x9C }, "not valid UTF-8")]
    public void Load_TextThatIsNoUnicode_NamesTheFile(string name, byte[] text, string problem)
    {
        string folder = Directory.CreateTempSubdirectory("fastgen-unicode-").FullName;
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), $$"""{"model": {{Model}}}""");
        File.WriteAllBytes(Path.Combine(folder, name), [.. "{\"architectures\": [\"x\"], \"bos_token\": \"a"u8, .. text, .. "\"}"u8]);
        Assert.That(() => Pipeline.Load(folder, new PipelineOptions { Device = ComputeDevice.Cpu }), Throws.InstanceOf<ModelLoadException>().With.Message.Contains(name).And.Message.Contains(problem));
        Directory.Delete(folder, recursive: true);
    }

    [TestCase("""{"model": {"type": "BPE", "unk_token": "x", "vocab": {"a": 0}, "merges": []}}""")]
    [TestCase("""{"model": {"type": "WordPiece", "unk_token": "x", "vocab": {"a": 0}}}""")]
    [TestCase("""{"model": {"vocab": {"a": 0}, "unk_token": "x"}}""")]
    public void Encode_UnknownTokenThatIsAbsent_IsRefusedOnlyWhereItIsNeeded(string json)
    {
        using TemporaryFolder folder = new();
        HuggingFaceTokenizer tokenizer = TokenizerLoader.LoadFile(folder.Write("tokenizer.json", json));
        Assert.That(tokenizer.Encode("a"), Is.EqualTo(new[] { 0 }));
        Assert.That(() => tokenizer.Encode("b"), Throws.InvalidOperationException.With.Message.Contains("'x'").And.Message.Contains("model.unk_token"));
    }

    [Test]
    public void LoadFile_AnyTruncation_NamesTheFile()
    {
        string whole = """{"version": "1.0", "added_tokens": [{"id": 3, "content": "<s>", "special": true}], "normalizer": {"type": "NFC"}, "model": """ + Model + "}";
        using TemporaryFolder folder = new();
        Assert.That(TokenizerLoader.LoadFile(folder.Write("tokenizer.json", whole)).VocabularySize, Is.EqualTo(4));
        for (int length = 0; length < whole.Length; length++)
        {
            string file = folder.Write("tokenizer.json", whole[..length]);
            Assert.That(() => TokenizerLoader.LoadFile(file), Throws.TypeOf<TokenizerFileException>().With.Message.Contains(file), whole[..length]);
        }
    }

    [Test]
    public void Load_BrokenConfiguration_NamesFileAndField()
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer.json", $$"""{"model": {{Model}}}""");
        string config = folder.Write("tokenizer_config.json", """{"bos_token": 7}""");
        Assert.That(() => TokenizerLoader.Load(folder.Path), Throws.TypeOf<TokenizerFileException>().With.Message.Contains(config).And.Message.Contains("bos_token"));
        folder.Write("tokenizer_config.json", """{"added_tokens_decoder": {"x": {"content": "y"}}}""");
        Assert.That(() => TokenizerLoader.Load(folder.Path), Throws.TypeOf<TokenizerFileException>().With.Message.Contains("added_tokens_decoder"));
        folder.Write("tokenizer_config.json", "{");
        Assert.That(() => TokenizerLoader.Load(folder.Path), Throws.TypeOf<TokenizerFileException>().With.Message.Contains(config));
    }

    [Test]
    public void Load_BrokenSentencePieceModel_NamesTheFile()
    {
        using TemporaryFolder folder = new();
        string file = Path.Combine(folder.Path, "tokenizer.model");
        foreach (byte[] content in new byte[][] { [], [0x0A], [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], [0x0B, 1], [0x12, 2, 0x18, 9], Encoding.UTF8.GetBytes("version https://git-lfs.github.com/spec/v1\n") })
        {
            File.WriteAllBytes(file, content);
            Assert.That(() => TokenizerLoader.Load(folder.Path), Throws.TypeOf<TokenizerFileException>().With.Message.Contains(file));
        }
    }

    [Test]
    public void Load_BrokenMerges_NamesTheLine()
    {
        using TemporaryFolder folder = new();
        folder.Write("vocab.json", """{"a": 0, "b": 1, "ab": 2}""");
        folder.Write("merges.txt", "#version: 0.2\na b\nb b\n");
        Assert.That(() => TokenizerLoader.Load(folder.Path), Throws.TypeOf<TokenizerFileException>().With.Message.Contains("line 3").And.Message.Contains("'bb'"));
    }

    [Test]
    public void Load_BrokenTiktokenFile_NamesTheLine()
    {
        using TemporaryFolder folder = new();
        folder.Write("qwen.tiktoken", "YQ== 0\nYg==\n");
        Assert.That(() => TokenizerLoader.Load(folder.Path), Throws.TypeOf<TokenizerFileException>().With.Message.Contains("line 2"));
    }

    [TestCase("tokenizer.json")]
    [TestCase("tokenizer_config.json", "tokenizer.json")]
    [TestCase("tokenizer.model")]
    [TestCase("vocab.json", "merges.txt")]
    [TestCase("merges.txt", "vocab.json")]
    [TestCase("qwen.tiktoken")]
    public void Load_FileThatCannotBeRead_NamesIt(string name, string? beside = null)
    {
        using TemporaryFolder folder = new();
        if (beside is not null) folder.Write(beside, beside == "vocab.json" ? """{"a": 0}""" : $$"""{"model": {{Model}}}""");
        string file = folder.Write(name, "{}");
        using FileStream taken = new(file, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
        Assert.That(() => TokenizerLoader.Load(folder.Path), Throws.TypeOf<TokenizerFileException>().With.Message.Contains(file).And.Message.Contains("cannot be read"));
    }

    [Test]
    public void Load_NoTokenizer_ListsTheFilesAndTheRemedy()
    {
        using TemporaryFolder folder = new();
        Assert.That(() => TokenizerLoader.Load(folder.Path), Throws.TypeOf<FileNotFoundException>()
            .With.Message.Contains(folder.Path).And.Message.Contains("tokenizer.json").And.Message.Contains("qwen.tiktoken").And.Message.Contains("PipelineOptions.Tokenizer"));
    }

    private static void AssertFault(string json, string field, string problem)
    {
        using TemporaryFolder folder = new();
        string file = folder.Write("tokenizer.json", json);
        TokenizerFileException? fault = Assert.Throws<TokenizerFileException>(() => TokenizerLoader.LoadFile(file));
        Assert.That(fault!.Field, Is.EqualTo(field));
        Assert.That(fault.Message, Does.Contain(file).And.Contain(problem));
    }
}
