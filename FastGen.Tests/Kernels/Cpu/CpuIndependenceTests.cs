using FastGen.Compute;
using FastGen.Kernels.Reference;

namespace FastGen.Tests.Kernels;

/// <summary>A row's result is the same bits whatever shares its batch, however its prompt was cut and however many threads work.</summary>
[TestFixture(512)]
[TestFixture(256)]
[TestFixture(128)]
public sealed class CpuIndependenceTests(int bits)
{
    private static readonly int[] Prompt = [.. Enumerable.Range(0, 41).Select(i => (i * 37) % MiniDecoder.Vocabulary)];

    [Test]
    public void Step_Decoder_MatchesReference([Values(DType.F32, DType.BF16, DType.F16)] DType type)
    {
        using MiniDecoder tested = new(CpuBackends.Create(bits, 2), type, slots: 3, tokens: 64), reference = new(new ReferenceBackend(), type, slots: 3, tokens: 64);
        foreach ((int, int[])[] parts in new (int, int[])[][] { [(0, Prompt), (2, [7, 8])], [(1, Prompt[..20]), (0, [4])], [(2, [5]), (1, [~1]), (0, [~0])] })
        {
            tested.Sequences.Next(parts);
            reference.Sequences.Next(parts);
            float[] expected = reference.Logits();
            Assert.That(expected.Max(MathF.Abs), Is.GreaterThan(0.1f));
            Assert.That(tested.Logits(), Is.EqualTo(expected).Within(2e-5f));
        }
    }

    [Test]
    public void Step_PromptCutAtEveryPoint_GivesTheSameBits([Values(DType.F32, DType.BF16, DType.F16)] DType type)
    {
        float[] whole = Run(type, threads: 2, (0, Prompt));
        for (int cut = 1; cut < Prompt.Length; cut++)
        {
            float[] split = Run(type, threads: 2, (0, Prompt[..cut]), (0, Prompt[cut..]));
            Assert.That(split, Is.EqualTo(whole), $"cut after {cut} tokens");
        }
    }

    [Test]
    public void Step_TokenByToken_GivesTheSameBits()
    {
        Assert.That(Run(DType.BF16, threads: 2, [.. Prompt.Select(token => (0, new[] { token }))]), Is.EqualTo(Run(DType.BF16, threads: 2, (0, Prompt))));
    }

    [Test]
    public void Step_AmongOthers_GivesTheSameBits([Values(DType.F32, DType.BF16, DType.F16)] DType type)
    {
        float[] alone = Run(type, threads: 2, (0, Prompt));
        foreach (int others in new[] { 1, 2, 5, 13 })
        {
            for (int place = 0; place <= others; place++)
            {
                using MiniDecoder decoder = new(CpuBackends.Create(bits, 2), type, slots: 16, tokens: 512);
                (int, int[])[] parts = [.. Enumerable.Range(1, others).Select(slot => (slot, Prompt[..(1 + (slot * 3))]))];
                decoder.Sequences.Next([.. parts[..place], (0, Prompt), .. parts[place..]]);
                Assert.That(decoder.Logits().AsSpan(place * MiniDecoder.Vocabulary, MiniDecoder.Vocabulary).ToArray(), Is.EqualTo(alone), $"{place} of {others} others before it");
            }
        }
    }

    [Test]
    public void Step_AnyNumberOfThreads_GivesTheSameBits([Values(DType.F32, DType.BF16, DType.F16)] DType type)
    {
        float[] single = Run(type, threads: 1, (0, Prompt), (1, Prompt[..9]), (0, [5]));
        foreach (int threads in new[] { 2, 3, 7 }) Assert.That(Run(type, threads, (0, Prompt), (1, Prompt[..9]), (0, [5])), Is.EqualTo(single), $"{threads} threads");
    }

    [Test]
    public void Step_Decode_AllocatesNothing()
    {
        using MiniDecoder decoder = new(CpuBackends.Create(bits, 2), DType.BF16, slots: 4, tokens: 64);
        decoder.Sequences.Next((0, Prompt), (1, [3]), (2, [4]));
        decoder.Sequences.Batch.SetSampling(0, new SlotSampling { Temperature = 0.8f, TopK = 20, TopP = 0.9f, MinP = 0.01f, RepetitionPenalty = 1.1f, FrequencyPenalty = 0.1f, PromptLength = 41 });
        decoder.Sequences.Batch.SetSampling(1, new SlotSampling { Temperature = 1, TopP = 1, RepetitionPenalty = 1 });
        decoder.Step();
        int[] drawn = new int[3];
        long least = long.MaxValue;
        for (int step = 0; step < 20; step++)
        {
            decoder.Sequences.Next((0, [~0]), (1, [~1]), (2, [~2]));
            long before = GC.GetAllocatedBytesForCurrentThread();
            decoder.Backend.Collect(decoder.Step(), drawn);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        Assert.That(least, Is.Zero);
    }

    // The logits of the last step.
    private float[] Run(DType type, int threads, params (int Slot, int[] Tokens)[] steps)
    {
        using MiniDecoder decoder = new(CpuBackends.Create(bits, threads), type, slots: 2, tokens: 64);
        float[] logits = [];
        foreach ((int slot, int[] tokens) in steps)
        {
            decoder.Sequences.Next((slot, tokens));
            logits = decoder.Logits();
        }
        return logits;
    }
}
