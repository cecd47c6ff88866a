using FastGen.Kernels;

namespace FastGen.Tests.Kernels;

public sealed class PhiloxTests
{
    // The known answers that the authors of Random123 publish with it.
    [TestCase(0u, 0u, 0u, 0u, 0u, 0u, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [TestCase(~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [TestCase(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Block_KnownCounter_GivesKnownWords(uint counter0, uint counter1, uint counter2, uint counter3, uint key0, uint key1, uint word0, uint word1, uint word2, uint word3)
    {
        Assert.That(Philox.Block(counter0, counter1, counter2, counter3, key0, key1), Is.EqualTo((word0, word1, word2, word3)));
    }

    [Test]
    public void Uniform_OfManyPositions_SpreadsEvenly()
    {
        int[] bins = new int[16];
        for (int position = 0; position < 16_000; position++) bins[(int)(16 * Philox.Uniform(seed: 7, position))]++;
        Assert.That(bins, Is.All.InRange(850, 1150));
    }
}
