using System.Text.Json;
using FastGen.Models;
using FastGen.Models.Tokenizers;

namespace FastGen.Tests;

/// <summary>Single components against Hugging Face's; <c>generate_component_cases.mjs</c> tells where the cases come from.</summary>
[TestFixture]
[Parallelizable(ParallelScope.All)]
internal sealed class TokenizerComponentTests
{
    private static readonly IReadOnlyList<JsonElement> Cases = ReadCases();

    [TestCaseSource(nameof(Specs), new object[] { "normalizer" })]
    public void Normalizer_Texts_GivesHuggingFaceTexts(string spec)
    {
        TextNormalizer normalizer = NormalizerReader.Read(Field(spec))!;
        foreach (JsonElement golden in CasesOf("normalizer", spec))
        {
            string text = golden.GetProperty("text").GetString()!;
            Assert.That(normalizer.Normalize(text), Is.EqualTo(golden.GetProperty("normalized").GetString()), golden.GetRawText());
        }
    }

    [TestCaseSource(nameof(Specs), new object[] { "pre_tokenizer" })]
    public void PreTokenizer_Texts_GivesHuggingFacePieces(string spec)
    {
        IReadOnlyList<PreTokenizationStep> steps = PreTokenizerReader.Read(Field(spec));
        foreach (JsonElement golden in CasesOf("pre_tokenizer", spec))
        {
            PreTokenizedText text = new(golden.GetProperty("text").GetString().AsMemory(), startsDocument: true);
            foreach (PreTokenizationStep step in steps) step.Apply(text);
            List<string> pieces = [];
            foreach (TextMatch piece in text.Pieces) pieces.Add(text[piece].ToString());
            Assert.That(pieces, Is.EqualTo(Strings(golden.GetProperty("pieces"))), golden.GetRawText());
        }
    }

    [TestCase("a{,2}b", "aaab b", "a|aab| |b")]
    [TestCase(@"[a-c]{,2}", "abcx", "ab|c|x")]
    [TestCase(@"\{,2}|[{,2}]", "x{,2}2,", "x|{,2}|2|,")]
    [TestCase(@"(?i)\p{Lu}", "ab Cd", "ab |C|d")]
    [TestCase(@"(?i:x\p{Ll})|\p{Lu}", "Xx XX xx", "Xx| |X|X| |xx")]
    [TestCase(@"(?i)[\p{Lu}]", "ab", "a|b")]
    public void PreTokenizer_Expression_MeansWhatOnigurumaReads(string expression, string text, string pieces)
    {
        PreTokenizedText cut = new(text.AsMemory(), startsDocument: true);
        cut.Split(RegexPattern.Create(expression), SplitBehavior.Isolated, invert: false);
        Assert.That(string.Join('|', cut.Pieces.ToArray().Select(piece => cut[piece].ToString())), Is.EqualTo(pieces));
    }

    [TestCaseSource(nameof(Specs), new object[] { "decoder" })]
    public void Decoder_Tokens_GivesHuggingFaceText(string spec)
    {
        TokenDecoder decoder = DecoderReader.Read(Field(spec))!;
        foreach (JsonElement golden in CasesOf("decoder", spec))
        {
            CharacterBuffer text = new();
            DecodingStage stage = decoder.CreateStage(new TextStage(text));
            foreach (string token in Strings(golden.GetProperty("tokens"))) stage.Write(token, endOfToken: true);
            stage.Complete();
            Assert.That(text.Written.ToString(), Is.EqualTo(golden.GetProperty("text").GetString()), golden.GetRawText());
        }
    }

    [TestCaseSource(nameof(Specs), new object[] { "tokenizer" })]
    public void Tokenizer_Texts_GivesHuggingFaceIdsAndTexts(string spec)
    {
        using TemporaryFolder folder = new();
        HuggingFaceTokenizer tokenizer = TokenizerLoader.LoadFile(folder.Write("tokenizer.json", spec));
        foreach (JsonElement golden in CasesOf("tokenizer", spec))
        {
            int[] ids = [.. golden.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
            Assert.Multiple(() =>
            {
                Assert.That(tokenizer.Encode(golden.GetProperty("text").GetString()!), Is.EqualTo(ids), golden.GetRawText());
                Assert.That(tokenizer.Decode(ids, skipSpecialTokens: true), Is.EqualTo(golden.GetProperty("skipped").GetString()), golden.GetRawText());
                Assert.That(tokenizer.Decode(ids, skipSpecialTokens: false), Is.EqualTo(golden.GetProperty("kept").GetString()), golden.GetRawText());
            });
        }
    }

    private static IEnumerable<string> Specs(string kind) =>
        Cases.Where(golden => golden.GetProperty("kind").GetString() == kind).Select(golden => golden.GetProperty("spec").GetRawText()).Distinct();

    private static IEnumerable<JsonElement> CasesOf(string kind, string spec) =>
        Cases.Where(golden => golden.GetProperty("kind").GetString() == kind && golden.GetProperty("spec").GetRawText() == spec);

    private static JsonField Field(string spec)
    {
        using JsonDocument document = JsonDocument.Parse(spec);
        return new JsonField("test.json", "component", document.RootElement.Clone());
    }

    private static string[] Strings(JsonElement array) => [.. array.EnumerateArray().Select(element => element.GetString()!)];

    private static List<JsonElement> ReadCases()
    {
        using Stream stream = typeof(TokenizerComponentTests).Assembly.GetManifestResourceStream("component_cases.json")!;
        using JsonDocument document = JsonDocument.Parse(stream);
        return [.. document.RootElement.GetProperty("cases").EnumerateArray().Select(element => element.Clone())];
    }
}
