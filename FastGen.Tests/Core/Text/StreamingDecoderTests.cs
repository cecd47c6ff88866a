using System.Buffers;
using System.Text;
using Microsoft.ML.Tokenizers;

namespace FastGen.Tests;

/// <summary>The decoder over tokenizers that know nothing of it, and its stop strings.</summary>
[TestFixture]
[Parallelizable(ParallelScope.All)]
internal sealed class StreamingDecoderTests
{
    [Test]
    public void Append_AnyTokenizer_GivesWholeCharacters()
    {
        StreamingDecoder decoder = new(new ByteTokenizer());
        List<string> pieces = [.. Encoding.UTF8.GetBytes("h\u00E9 \U0001F680!").Select(value => decoder.Append(value, out _)), decoder.Flush()];
        Assert.That(pieces, Is.EqualTo(new[] { "h", "", "\u00E9", " ", "", "", "", "\U0001F680", "!", "" }));
    }

    [Test]
    public void Flush_HalfACharacter_GivesTheReplacementCharacter()
    {
        StreamingDecoder decoder = new(new ByteTokenizer());
        Assert.That(decoder.Append('a', out _) + decoder.Append(0xF0, out _) + decoder.Append(0x9F, out _), Is.EqualTo("a"));
        Assert.That(decoder.Flush(), Is.EqualTo("\uFFFD"));
    }

    [Test]
    public void Append_BytesThatNeverBecomeCharacters_AreNotHeldForever()
    {
        StreamingDecoder decoder = new(new ByteTokenizer());
        string text = string.Concat(Enumerable.Range(0, 100).Select(_ => decoder.Append(0x80, out bool _)));
        Assert.That(text + decoder.Flush(), Is.EqualTo(new string('\uFFFD', 100)));
        Assert.That(text, Has.Length.GreaterThan(80));
    }

    [Test]
    public void Append_BytesThatAreNoneAmongCharacters_GivesTheTextOfAll([Range(1, 20)] int seed)
    {
        Random random = new(seed);
        int[] ids = [.. Enumerable.Range(0, 100).SelectMany(_ => random.Next(4) switch
        {
            0 => [0x80],
            1 => [ByteTokenizer.Special],
            2 => Encoding.UTF8.GetBytes("\u00E9\U0001F680").Select(value => (int)value),
            _ => (int[])[random.Next(256)],
        })];
        AssertGivesTheTextOfAll(ids);
    }

    [TestCase(0x80)]
    [TestCase(0xF0)]
    [TestCase(ByteTokenizer.Special)]
    public void Append_CharacterAfterManyIdsThatAreNone_IsWhole(int id)
    {
        for (int count = 0; count < 40; count++) AssertGivesTheTextOfAll([.. Enumerable.Repeat(id, count), 0xF0, 0x9F, 0x9A, 0x80]);
    }

    [TestCase("say STOP now", new[] { "STOP" }, "say ", "STOP")]
    [TestCase("say STO now", new[] { "STOP" }, "say STO now", null)]
    [TestCase("aabaabaaac", new[] { "aabaaac" }, "aab", "aabaaac")]
    [TestCase("one\n\ntwo", new[] { "\n\n", "two" }, "one", "\n\n")]
    [TestCase("abcd", new[] { "bc", "abcx", "c" }, "a", "bc")]
    [TestCase("xyz", new[] { "yz", "xyz" }, "", "xyz")]
    [TestCase("almost </s", new[] { "</s>" }, "almost </s", null)]
    public void Append_StopStrings_ShowNothingOfThem(string text, string[] stopStrings, string expected, string? stopString)
    {
        StreamingDecoder decoder = new(new ByteTokenizer(), stopStrings);
        StringBuilder shown = new();
        bool stopped = false;
        foreach (byte value in Encoding.UTF8.GetBytes(text))
        {
            shown.Append(decoder.Append(value, out stopped));
            Assert.That(expected, Does.StartWith(shown.ToString()));
        }
        shown.Append(decoder.Flush());
        Assert.That((shown.ToString(), decoder.StopString, stopped), Is.EqualTo((expected, stopString, stopString is not null)));
    }

    [Test]
    public void Append_NoStopStringBegun_HoldsNothing()
    {
        StreamingDecoder decoder = new(new ByteTokenizer(), ["\nUser:"]);
        Assert.That(decoder.Append('a', out _), Is.EqualTo("a"));
        Assert.That(decoder.Append('\n', out _), Is.Empty);
        Assert.That(decoder.Append('b', out _), Is.EqualTo("\nb"));
    }

    [Test]
    public void Constructor_EmptyStopString_Throws() => Assert.That(() => new StreamingDecoder(new ByteTokenizer(), [""]), Throws.ArgumentException);

    private static void AssertGivesTheTextOfAll(int[] ids)
    {
        StreamingDecoder decoder = new(new ByteTokenizer());
        string text = string.Concat(ids.Select(id => decoder.Append(id, out bool _))) + decoder.Flush();
        Assert.That(text, Is.EqualTo(new ByteTokenizer().Decode(ids)));
    }

    /// <summary>Ids are bytes.</summary>
    private sealed class ByteTokenizer : Tokenizer
    {
        /// <summary>An id that has no text.</summary>
        public const int Special = 256;

        public override string Decode(IEnumerable<int> ids) => Encoding.UTF8.GetString([.. ids.Where(id => id != Special).Select(id => (byte)id)]);

        public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten) => throw new NotSupportedException();

        protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings) => throw new NotSupportedException();
    }
}
