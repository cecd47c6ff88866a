using FastGen.Compute;

namespace FastGen.Tests;

[TestFixture]
public sealed class CudaSamplingTests : CudaFixture
{
    private static readonly StepLimits Limits = new(64, 16, 16, 8);

    [TestCase(1, 12f)]
    [TestCase(37, 12f)]
    [TestCase(1000, 0.3f)]
    [TestCase(1000, 100f)]
    [TestCase(32001, 12f)]
    [TestCase(32000, 2f)]
    [TestCase(32000, 40f)]
    [TestCase(128256, 25f)]
    public void Sample_ManyParameters_DrawsWhatTheReferenceDraws(int vocabulary, float spread)
    {
        Prepare(vocabulary);
        SamplingParameters[] kinds =
        [
            SamplingParameters.Greedy,
            new(),
            new() { Temperature = 0.7f },
            new() { Temperature = 1.5f, TopK = 5 },
            new() { TopP = 0.8f },
            new() { MinP = 0.2f },
            new() { Temperature = 0.9f, TopK = 40, TopP = 0.9f, MinP = 0.02f },
            new() { Temperature = 0, RepetitionPenalty = 1.4f },
            new() { RepetitionPenalty = 1.2f, PresencePenalty = 0.5f, FrequencyPenalty = 0.3f },
            new() { TopK = 1 },
            new() { TopP = 0.01f },
            new() { TopP = 0.999f, Temperature = 1.3f },
            new() { TopK = 500, TopP = 0.95f, MinP = 0.1f },
            new() { TopK = 20_000, Temperature = 0.2f },
            new() { Temperature = 1e-38f },
        ];
        int draws = 0, same = 0;
        RaggedBatch batch = new(Limits);
        for (int round = 0; round < (vocabulary > 100_000 ? 5 : 20); round++)
        {
            batch.Clear();
            for (int slot = 0; slot < kinds.Length; slot++)
            {
                if (round == 0)
                {
                    batch.SetSampling(slot, kinds[slot].ForSlot((ulong)(slot + 1) * 0x123456789, promptLength: 2));
                    for (int i = 0; i < 2; i++) batch.SetBlock(slot, i, (slot * Limits.BlocksPerSequence) + i);
                }
                int[] tokens = round == 0 ? [Random.Next(vocabulary), Random.Next(vocabulary)] : [~slot];
                batch.AddSequence(slot, tokens, round == 0 ? 0 : round + 1, [.. Enumerable.Range(slot * Limits.BlocksPerSequence, Limits.BlocksPerSequence)]);
                batch.AddLogitRow(round % 3 == 0 && vocabulary > 5 ? [3, 0] : []);
            }
            // With ties, about zero.
            Twin logits = Logits(vocabulary, (_, _) => MathF.Round((Random.NextSingle() - 0.5f) * spread * 50) / 50);
            int[] fromCuda = Draw(Cuda, logits.Cuda, batch), fromReference = Draw(Reference, logits.Reference, batch);
            draws += fromCuda.Length;
            same += fromCuda.Zip(fromReference).Count(pair => pair.First == pair.Second);
            for (int slot = 0; slot < kinds.Length; slot++)
            {
                if (kinds[slot].Temperature == 0 || kinds[slot].TopK == 1) Assert.That(fromCuda[slot], Is.EqualTo(fromReference[slot]), $"round {round}, {kinds[slot]}");
            }
            // Both go on from the same history.
            if (!fromCuda.SequenceEqual(fromReference)) break;
        }
        TestContext.Out.WriteLine($"{same} of {draws} draws are the same");
        Assert.That(same, Is.GreaterThanOrEqualTo(draws - 1), "a draw at the very edge of two tokens may differ");
    }

    [Test]
    public void Sample_NothingToDraw_GivesMinusOne()
    {
        Prepare(50);
        RaggedBatch batch = new(Limits);
        batch.Clear();
        for (int slot = 0; slot < 4; slot++)
        {
            batch.SetSampling(slot, (slot % 2 == 0 ? SamplingParameters.Greedy : new SamplingParameters()).ForSlot(1, 1));
            batch.AddSequence(slot, [1], 0, [slot]);
            batch.AddLogitRow();
        }
        Twin logits = Logits(50, (row, column) => row switch { 0 => float.NegativeInfinity, 1 => column == 7 ? float.NaN : 1, 2 => column == 9 ? float.PositiveInfinity : 1, _ => column == 3 ? 0 : float.NegativeInfinity });

        Assert.That(Draw(Cuda, logits.Cuda, batch), Is.EqualTo((int[])[-1, -1, -1, 3]));
    }

    [TestCase(1)]
    [TestCase(37)]
    [TestCase(1000)]
    [TestCase(32001)]
    [TestCase(151936)]
    public void Sample_LogProbabilities_AreThoseOfTheReference(int vocabulary)
    {
        Prepare(vocabulary);
        // The same operations each time, so that decode steps are recorded and replayed.
        RaggedBatch batch = new(Limits);
        Twin logits = Logits(vocabulary, (_, _) => 0);
        Action<int, int> onCuda = (_, rows) => Cuda.Sample(logits.Cuda.WithRows(rows), batch), onReference = (_, rows) => Reference.Sample(logits.Reference.WithRows(rows), batch);
        for (int round = 0; round < 9; round++)
        {
            batch.Clear();
            for (int slot = 0; slot < 12; slot++)
            {
                SamplingParameters sampling = new() { Temperature = 0, TopLogProbabilities = slot < 8 ? 3 * slot % 21 : 0, LogProbabilities = slot == 8, RepetitionPenalty = slot is 3 or 4 ? 7 : 1, PresencePenalty = slot == 5 ? 4 : 0 };
                if (round == 0)
                {
                    batch.SetSampling(slot, sampling.ForSlot((ulong)slot, promptLength: 1));
                    batch.SetBlock(slot, 0, slot);
                }
                batch.AddSequence(slot, [round == 0 ? Random.Next(vocabulary) : ~slot], round, [slot]);
                // Rounds in which no draw sees other logits than the model's, and rounds with suppressed tokens.
                batch.AddLogitRow(round >= 6 && slot % 2 == 0 && vocabulary > 5 ? [0, 4, 2] : []);
            }
            Refill(logits, MathF.Max(1, round));
            long cudaTicket = Cuda.Submit(batch, onCuda), referenceTicket = Reference.Submit(batch, onReference);
            TokenLogProbability[] fromCuda = Collect(Cuda, cudaTicket, batch), fromReference = Collect(Reference, referenceTicket, batch);
            for (int i = 0; i < fromCuda.Length; i++)
            {
                (int slot, int entry) = (i / RaggedBatch.LogProbabilitiesPerRow, i % RaggedBatch.LogProbabilitiesPerRow);
                int wanted = slot < 8 ? (3 * slot % 21) + (slot > 0 ? 1 : 0) : slot == 8 ? 1 : 0;
                if (entry >= Math.Min(wanted, 1 + vocabulary)) continue;
                Assert.That(fromCuda[i].TokenId, Is.EqualTo(fromReference[i].TokenId), $"round {round}, slot {slot}, entry {entry}");
                Assert.That(fromCuda[i].LogProbability, Is.EqualTo(fromReference[i].LogProbability).Within(4e-6f * (1 + Math.Abs(fromReference[i].LogProbability))), $"round {round}, slot {slot}, entry {entry}");
            }
        }
    }

    private static TokenLogProbability[] Collect(IBackend backend, long ticket, RaggedBatch batch)
    {
        TokenLogProbability[] entries = new TokenLogProbability[batch.LogitRowCount * RaggedBatch.LogProbabilitiesPerRow];
        backend.Collect(ticket, new int[batch.LogitRowCount]);
        backend.CollectLogProbabilities(ticket, entries);
        return entries;
    }

    private void Refill(Twin logits, float spread)
    {
        // With ties.
        float[] values = [.. Enumerable.Range(0, logits.Cuda.Rows * logits.Cuda.Columns).Select(_ => MathF.Round(Random.NextSingle() * spread * 400) / 50)];
        foreach ((IBackend backend, Tensor tensor) in ((IBackend, Tensor)[])[(Cuda, logits.Cuda), (Reference, logits.Reference)]) backend.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values), DType.F32, tensor);
    }

    private static int[] Draw(IBackend backend, Tensor logits, RaggedBatch batch)
    {
        int[] tokens = new int[batch.LogitRowCount];
        long ticket = backend.Submit(batch, (_, rows) => backend.Sample(logits.WithRows(rows), batch));
        backend.Collect(ticket, tokens);
        return tokens;
    }

    private void Prepare(int vocabulary)
    {
        ModelShape shape = new() { Layers = 1, HiddenSize = 64, VocabularySize = vocabulary, MlpColumns = 64, Heads = 2, KvHeads = 2, HeadDim = 16, MaxContext = 128, WeightType = DType.F32 };
        Cuda.Prepare(shape, Limits);
        Reference.Prepare(shape, Limits);
    }

    private Twin Logits(int vocabulary, Func<int, int, float> value)
    {
        float[] values = new float[Limits.Sequences * vocabulary];
        for (int i = 0; i < values.Length; i++) values[i] = value(i / vocabulary, i % vocabulary);
        return Make(DType.F32, DType.F32, Limits.Sequences, vocabulary, values, weights: false);
    }
}
