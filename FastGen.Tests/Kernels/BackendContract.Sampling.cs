using FastGen.Compute;

namespace FastGen.Tests.Kernels;

// Sample, and the state of slots that it reads.
public abstract partial class BackendContract
{
    private static readonly SlotSampling Neutral = new() { Temperature = 1, TopP = 1, RepetitionPenalty = 1, PromptLength = int.MaxValue };

    public static IEnumerable<SlotSampling> Samplings() =>
    [
        Neutral with { Temperature = 0 },
        Neutral,
        Neutral with { Temperature = 0.3f },
        Neutral with { TopK = 1 },
        Neutral with { TopK = 40 },
        Neutral with { TopK = 100_000 },
        Neutral with { TopP = 0.1f },
        Neutral with { TopP = 0.95f },
        Neutral with { MinP = 0.1f },
        Neutral with { Temperature = 0.8f, TopK = 50, TopP = 0.9f, MinP = 0.02f },
        Neutral with { Temperature = 1e-6f },
        Neutral with { Temperature = 1e-38f },
    ];

    [TestCaseSource(nameof(Samplings))]
    public void Sample_ManyRows_DrawsAsReference(SlotSampling sampling)
    {
        foreach ((int vocabulary, float scale) in new[] { (1, 3f), (7, 3f), (33, 3f), (577, 60f), (40_001, 3f), (40_001, 0.1f) })
        {
            const int Rows = 16;
            PagedSequences sequences = new(slots: Rows, blockSize: 4, blocksPerSequence: 4, tokens: Rows);
            RaggedBatch batch = sequences.Next([.. Enumerable.Range(0, Rows).Select(slot => (slot, 1))]);
            for (int slot = 0; slot < Rows; slot++) batch.SetSampling(slot, sampling with { Seed = (ulong)slot * 0x9E3779B97F4A7C15 });
            CheckDraws(batch, Twins.Values(Rows * vocabulary, scale), vocabulary, Batches.Shape(vocabulary));
        }
    }

    [Test]
    public void Sample_EqualLogits_KeepsWhatReferenceKeeps()
    {
        float[] logits = [.. Enumerable.Range(0, 16).SelectMany(row => Enumerable.Range(0, 50).Select(i => (float)(i % 5)))];
        foreach (SlotSampling sampling in new[] { Neutral with { TopK = 3 }, Neutral with { TopP = 0.3f }, Neutral with { Temperature = 0 }, Neutral with { TopK = 15, TopP = 0.5f } })
        {
            PagedSequences sequences = new(slots: 16, blockSize: 4, blocksPerSequence: 4, tokens: 16);
            RaggedBatch batch = sequences.Next([.. Enumerable.Range(0, 16).Select(slot => (slot, 1))]);
            for (int slot = 0; slot < 16; slot++) batch.SetSampling(slot, sampling with { Seed = (ulong)slot });
            CheckDraws(batch, logits, 50, Batches.Shape(50));
        }
    }

    [Test]
    public void Sample_NotANumberOrNothingFinite_GivesMinusOne([Values(0f, 1f)] float temperature)
    {
        const int Columns = 40;
        float[] logits = Twins.Values(4 * Columns);
        logits[17] = float.NaN;
        Array.Fill(logits, float.NegativeInfinity, Columns, Columns);
        logits[(2 * Columns) + 3] = float.NegativeInfinity;
        PagedSequences sequences = new(slots: 4, blockSize: 4, blocksPerSequence: 4, tokens: 4);
        RaggedBatch batch = sequences.Next((0, 1), (1, 1), (2, 1), (3, 1));
        for (int slot = 0; slot < 4; slot++) batch.SetSampling(slot, Neutral with { Temperature = temperature });
        int[] drawn = CheckDraws(batch, logits, Columns, Batches.Shape(Columns));
        Assert.That(drawn.Select(id => id < 0), Is.EqualTo(new[] { true, true, false, false }));
    }

    [Test]
    public void Sample_SuppressedTokens_AreNotDrawn()
    {
        float[] logits = [1, 5, 4, 3, 1, 5, 4, 3];
        RaggedBatch batch = new(new StepLimits(4, 2, 4, 4));
        batch.Clear();
        batch.AddSequence(0, [1], 0, [0]);
        batch.AddLogitRow([1, 2]);
        batch.AddSequence(1, [1], 0, [1]);
        batch.AddLogitRow();
        for (int slot = 0; slot < 2; slot++) batch.SetSampling(slot, Neutral with { Temperature = 0 });
        Assert.That(CheckDraws(batch, logits, 4, Batches.Shape(4)), Is.EqualTo(new[] { 3, 1 }));
    }

    [Test]
    public void Sample_Penalties_CountPromptAndOutput()
    {
        const int Vocabulary = 37, Slots = 3;
        SlotSampling[] samplings =
        [
            Neutral with { RepetitionPenalty = 1.7f, PromptLength = 4 },
            Neutral with { PresencePenalty = 1.5f, FrequencyPenalty = 0.7f, PromptLength = 4 },
            Neutral with { RepetitionPenalty = 0.6f, PresencePenalty = -1, FrequencyPenalty = 0.5f, PromptLength = 2 },
        ];
        PagedSequences sequences = new(Slots, blockSize: 4, blocksPerSequence: 16, tokens: 16);
        ModelShape shape = Batches.Shape(Vocabulary, maxContext: 64);
        Twins.Tested.Prepare(shape, sequences.Limits);
        Twins.Reference.Prepare(shape, sequences.Limits);
        for (int step = 0; step < 20; step++)
        {
            // After the prompt each slot is fed the id that it drew, by name.
            RaggedBatch batch = sequences.Next([.. Enumerable.Range(0, Slots).Select(slot => (slot, step == 0 ? new[] { 3, 3, 5, 8 } : [~slot]))]);
            for (int slot = 0; slot < Slots && step == 0; slot++) batch.SetSampling(slot, samplings[slot] with { Seed = (ulong)slot });
            TwinBackends.Pair logits = Twins.Logits(Twins.Values(Slots * Vocabulary, 0.5f), Vocabulary);
            Assert.That(Draw(Twins.Tested, logits.Tested, batch), Is.EqualTo(Draw(Twins.Reference, logits.Reference, batch)), $"step {step}");
        }
    }

    [Test]
    public void Collect_TwoSteps_GivesEachItsOwn()
    {
        PagedSequences sequences = new(slots: 1, blockSize: 4, blocksPerSequence: 4, tokens: 4);
        Twins.Tested.Prepare(Batches.Shape(4), sequences.Limits);
        Tensor first = Twins.Logits([0, 9, 0, 0], 4).Tested, second = Twins.Logits([0, 0, 0, 9], 4).Tested;
        RaggedBatch batch = sequences.Next((0, 1));
        batch.SetSampling(0, Neutral with { Temperature = 0 });
        long firstTicket = Twins.Tested.Submit(batch, (_, _) => Twins.Tested.Sample(first, batch));
        sequences.Next((0, 1));
        long secondTicket = Twins.Tested.Submit(batch, (_, _) => Twins.Tested.Sample(second, batch));
        int[] tokens = new int[2];
        Twins.Tested.Collect(firstTicket, tokens.AsSpan(0, 1));
        Twins.Tested.Collect(secondTicket, tokens.AsSpan(1, 1));
        Assert.That(tokens, Is.EqualTo(new[] { 1, 3 }));
    }

    [TestCase(1, 3f)]
    [TestCase(7, 3f)]
    [TestCase(33, 0f)]
    [TestCase(577, 60f)]
    [TestCase(40_001, 3f)]
    public void Sample_LogProbabilities_AreThoseOfTheLogitsAsGiven(int vocabulary, float scale)
    {
        const int Rows = 6;
        PagedSequences sequences = new(slots: Rows, blockSize: 4, blocksPerSequence: 4, tokens: Rows);
        RaggedBatch batch = sequences.Next([.. Enumerable.Range(0, Rows).Select(slot => (slot, 1))]);
        // None, the drawn token's alone, some, all that there may be; two with penalties, under which the draw sees other logits.
        for (int slot = 0; slot < Rows; slot++)
        {
            batch.SetSampling(slot, Neutral with
            {
                LogProbabilities = slot switch { 0 => 0, 1 => 1, 2 => 6, _ => RaggedBatch.LogProbabilitiesPerRow },
                RepetitionPenalty = slot >= 4 ? 9 : 1,
                PresencePenalty = slot == 5 ? 3 : 0,
                PromptLength = 0,
                Temperature = slot % 2,
                Seed = (ulong)slot,
            });
        }
        float[] logits = Twins.Values(Rows * vocabulary, scale);
        // Ties among the most likely.
        for (int i = 0; i < logits.Length; i++) logits[i] = MathF.Round(logits[i] * 4) / 4;
        TwinBackends.Pair pair = Twins.Logits(logits, vocabulary);
        TokenLogProbability[] tested = LogProbabilities(Twins.Tested, pair.Tested, batch, vocabulary), reference = LogProbabilities(Twins.Reference, pair.Reference, batch, vocabulary);
        for (int i = 0; i < tested.Length; i++)
        {
            Assert.That(tested[i].TokenId, Is.EqualTo(reference[i].TokenId), $"entry {i}");
            Assert.That(tested[i].LogProbability, Is.EqualTo(reference[i].LogProbability).Within(2e-6f * (1 + Math.Abs(reference[i].LogProbability))), $"entry {i}");
        }
        Assert.That(reference.Count(entry => entry.TokenId >= 0), Is.EqualTo(1 + Math.Min(6, 1 + vocabulary) + (3 * Math.Min(RaggedBatch.LogProbabilitiesPerRow, 1 + vocabulary))));
    }

    private static TokenLogProbability[] LogProbabilities(IBackend backend, Tensor logits, RaggedBatch batch, int vocabulary)
    {
        backend.Prepare(Batches.Shape(vocabulary), batch.Limits);
        long ticket = backend.Submit(batch, (_, _) => backend.Sample(logits, batch));
        backend.Collect(ticket, new int[batch.LogitRowCount]);
        TokenLogProbability[] entries = new TokenLogProbability[batch.LogitRowCount * RaggedBatch.LogProbabilitiesPerRow];
        Array.Fill(entries, new TokenLogProbability(-1, 0));
        backend.CollectLogProbabilities(ticket, entries);
        // What a row does not ask for is the backend's own affair.
        for (int row = 0; row < batch.LogitRowCount; row++)
        {
            int wanted = Math.Min(batch.SamplingUpdates[row].Sampling.LogProbabilities, 1 + vocabulary);
            entries.AsSpan((row * RaggedBatch.LogProbabilitiesPerRow) + wanted, RaggedBatch.LogProbabilitiesPerRow - wanted).Fill(new TokenLogProbability(-1, 0));
        }
        return entries;
    }

    private int[] CheckDraws(RaggedBatch batch, float[] values, int columns, ModelShape shape)
    {
        TwinBackends.Pair logits = Twins.Logits(values, columns);
        Twins.Tested.Prepare(shape, batch.Limits);
        Twins.Reference.Prepare(shape, batch.Limits);
        int[] drawn = Draw(Twins.Tested, logits.Tested, batch);
        Assert.That(drawn, Is.EqualTo(Draw(Twins.Reference, logits.Reference, batch)), $"{columns} logits");
        return drawn;
    }

    private static int[] Draw(IBackend backend, Tensor logits, RaggedBatch batch)
    {
        int[] tokens = new int[batch.LogitRowCount];
        long ticket = backend.Submit(batch, (_, _) => backend.Sample(logits, batch));
        backend.Collect(ticket, tokens);
        return tokens;
    }
}
