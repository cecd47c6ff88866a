using System.Text.Json;
using FastGen.Models;

namespace FastGen.Tests;

[TestFixture]
[Parallelizable(ParallelScope.All)]
internal sealed class TokenizerKitTests
{
    [TestCaseSource(typeof(TokenizerKit), nameof(TokenizerKit.Folders))]
    public void Encode_KitCases_GiveHuggingFaceIds(string? folder)
    {
        string path = TokenizerKit.PathOf(folder);
        HuggingFaceTokenizer tokenizer = TokenizerKit.Load(path);
        List<string> failures = [];
        int checks = 0;
        void Check(string text, bool addSpecialTokens, int[] expected)
        {
            checks++;
            IReadOnlyList<int> actual = tokenizer.Encode(text, addSpecialTokens);
            if (!actual.SequenceEqual(expected)) failures.Add($"{JsonSerializer.Serialize(text)}: expected [{string.Join(' ', expected)}], got [{string.Join(' ', actual)}]");
        }

        foreach (JsonElement golden in TokenizerKit.Cases(path, "expected.json"))
        {
            string text = golden.GetProperty("text").GetString()!;
            Check(text, addSpecialTokens: true, TokenizerKit.Ids(golden, "ids"));
            Check(text, addSpecialTokens: false, TokenizerKit.Ids(golden, "ids_without_special"));
        }
        foreach (JsonElement golden in TokenizerKit.Cases(path, "goldens.json"))
        {
            Check(golden.GetProperty("text").GetString()!, golden.GetProperty("add_special_tokens").GetBoolean(), TokenizerKit.Ids(golden, "ids"));
        }
        Report(failures, checks);
    }

    [TestCaseSource(typeof(TokenizerKit), nameof(TokenizerKit.Folders))]
    public void Decode_KitCases_GiveHuggingFaceTexts(string? folder)
    {
        string path = TokenizerKit.PathOf(folder);
        HuggingFaceTokenizer tokenizer = TokenizerKit.Load(path);
        List<string> failures = [];
        int checks = 0;
        foreach (JsonElement golden in TokenizerKit.Cases(path, "expected.json"))
        {
            int[] ids = TokenizerKit.Ids(golden, "ids");
            foreach ((string name, bool skip) in new[] { ("decoded", true), ("decoded_with_special", false) })
            {
                checks++;
                string expected = golden.GetProperty(name).GetString()!;
                string actual = tokenizer.Decode(ids, skip);
                if (actual != expected) failures.Add($"[{string.Join(' ', ids)}], skip {skip}: expected {JsonSerializer.Serialize(expected)}, got {JsonSerializer.Serialize(actual)}");
            }
        }
        Report(failures, checks);
    }

    private static void Report(List<string> failures, int checks)
    {
        TestContext.Out.WriteLine($"{checks - failures.Count} of {checks}");
        Assert.That(failures, Is.Empty, string.Join('\n', failures.Take(10)));
    }
}
