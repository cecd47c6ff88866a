using System.Text;
using System.Text.Json;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Pieces against the one-shot decode, for every tokenizer of the kit, on its cases and on random ids.</summary>
[TestFixture]
[Parallelizable(ParallelScope.All)]
internal sealed class StreamingDecoderKitTests
{
    private const int RandomSequences = 200;

    [TestCaseSource(typeof(TokenizerKit), nameof(TokenizerKit.Folders))]
    public void Append_AnyIds_PiecesAreTheWholeText(string? folder)
    {
        HuggingFaceTokenizer tokenizer = TokenizerKit.Load(TokenizerKit.PathOf(folder));
        foreach (int[] ids in Sequences(folder, tokenizer, new Random(1)))
        {
            foreach (bool skip in new[] { true, false })
            {
                StreamingDecoder decoder = new(tokenizer, skipSpecialTokens: skip);
                StringBuilder text = new();
                foreach (int id in ids)
                {
                    string piece = decoder.Append(id, out bool stopped);
                    Assert.That(stopped, Is.False);
                    Assert.That(IsWellFormed(piece), $"half a character in {JsonSerializer.Serialize(ids)}");
                    text.Append(piece);
                }
                text.Append(decoder.Flush());
                Assert.That(text.ToString(), Is.EqualTo(tokenizer.Decode(ids, skip)), JsonSerializer.Serialize(ids));
            }
        }
    }

    [TestCaseSource(typeof(TokenizerKit), nameof(TokenizerKit.Folders))]
    public void Append_StopStrings_CutsBeforeTheFirst(string? folder)
    {
        HuggingFaceTokenizer tokenizer = TokenizerKit.Load(TokenizerKit.PathOf(folder));
        Random random = new(2);
        foreach (int[] ids in Sequences(folder, tokenizer, random))
        {
            string whole = tokenizer.Decode(ids);
            string[] stopStrings = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => RandomStopString(whole, random))];
            (string expected, string? expectedStop) = Cut(whole, stopStrings);

            StreamingDecoder decoder = new(tokenizer, stopStrings);
            StringBuilder text = new();
            foreach (int id in ids)
            {
                string piece = decoder.Append(id, out bool stopped);
                Assert.That(expected.AsSpan(text.Length).StartsWith(piece, StringComparison.Ordinal));
                text.Append(piece);
                Assert.That(stopped, Is.EqualTo(decoder.StopString is not null));
            }
            text.Append(decoder.Flush());
            Assert.That(text.ToString(), Is.EqualTo(expected), JsonSerializer.Serialize(stopStrings));
            Assert.That(decoder.StopString, Is.EqualTo(expectedStop));
        }
    }

    [TestCaseSource(typeof(TokenizerKit), nameof(TokenizerKit.Folders))]
    public void Append_WarmedUp_AllocatesNothingButThePieces(string? folder)
    {
        HuggingFaceTokenizer tokenizer = TokenizerKit.Load(TokenizerKit.PathOf(folder));
        int[] ids = [.. tokenizer.Encode("The quick brown fox, \u4E2D\u6587 and \U0001F680\n\n" + new string('x', 100), addSpecialTokens: false)];
        StreamingDecoder decoder = new(tokenizer, ["never to be seen", "nor this"]);
        foreach (int id in ids) decoder.Append(id, out _);

        long before = GC.GetAllocatedBytesForCurrentThread();
        long pieces = 0;
        foreach (int id in ids)
        {
            string piece = decoder.Append(id, out _);
            if (piece.Length > 0) pieces += SizeOf(piece);
        }
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.EqualTo(pieces));
    }

    // Header, length, characters and the closing zero, in units of eight bytes.
    private static long SizeOf(string text) => (22 + (2L * text.Length) + 7) / 8 * 8;

    private static IEnumerable<int[]> Sequences(string? folder, HuggingFaceTokenizer tokenizer, Random random)
    {
        foreach (JsonElement golden in TokenizerKit.Cases(TokenizerKit.PathOf(folder), "expected.json")) yield return TokenizerKit.Ids(golden, "ids");
        foreach (JsonElement golden in TokenizerKit.Cases(TokenizerKit.PathOf(folder), "goldens.json")) yield return TokenizerKit.Ids(golden, "ids");
        for (int i = 0; i < RandomSequences; i++)
        {
            // Low ids are where bytes and special tokens are.
            int limit = random.Next(2) == 0 ? tokenizer.VocabularySize : Math.Min(300, tokenizer.VocabularySize);
            yield return [.. Enumerable.Range(0, random.Next(40)).Select(_ => random.Next(limit))];
        }
    }

    private static string RandomStopString(string whole, Random random)
    {
        if (whole.Length == 0 || random.Next(4) == 0) return "absent";
        int start = random.Next(whole.Length);
        string stopString = whole.Substring(start, random.Next(1, Math.Min(8, whole.Length - start) + 1));
        return IsWellFormed(stopString) ? stopString : "\uFFFD";
    }

    private static (string Text, string? StopString) Cut(string whole, string[] stopStrings)
    {
        for (int end = 1; end <= whole.Length; end++)
        {
            string? longest = stopStrings.Where(stop => whole.AsSpan(0, end).EndsWith(stop, StringComparison.Ordinal)).MaxBy(stop => stop.Length);
            if (longest is not null) return (whole[..(end - longest.Length)], longest);
        }
        return (whole, null);
    }

    private static bool IsWellFormed(string text)
    {
        for (int i = 0; i < text.Length; i += char.IsSurrogate(text[i]) ? 2 : 1)
        {
            if (char.IsSurrogate(text[i]) && !(i + 1 < text.Length && char.IsSurrogatePair(text, i))) return false;
        }
        return true;
    }
}
