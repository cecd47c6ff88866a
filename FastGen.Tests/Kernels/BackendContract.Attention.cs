using FastGen.Compute;

namespace FastGen.Tests.Kernels;

// StoreKv and Attention over prompts, chunks and decodes in one batch.
public abstract partial class BackendContract
{
    [TestCase(1, 1, 16, 16)]
    [TestCase(2, 1, 32, 16)]
    [TestCase(4, 4, 64, 16)]
    [TestCase(8, 2, 80, 32)]
    [TestCase(7, 1, 128, 16)]
    [TestCase(12, 3, 96, 64)]
    [TestCase(8, 1, 256, 16)]
    [TestCase(71, 1, 64, 16)]
    [TestCase(26, 2, 20, 4)]
    [TestCase(6, 3, 36, 7)]
    [TestCase(4, 2, 64, 128)]
    public void Attention_HeadsAndBlocks_MatchesReference(int heads, int kvHeads, int headDim, int blockSize) => CheckAttention(Shape(heads, kvHeads, headDim), blockSize);

    [TestCase(1)]
    [TestCase(3)]
    [TestCase(16)]
    [TestCase(33)]
    [TestCase(70)]
    public void Attention_Window_MatchesReference(int window)
    {
        foreach (int blockSize in new[] { 8, 16, 100 }) CheckAttention(Shape(4, 2, 32) with { Window = window }, blockSize);
    }

    // What a window has passed is given back, and whatever its next owner writes there reaches no sums.
    [Test]
    public void Attention_WindowHasPassedABlock_ReadsNothingOfItsNewOwner()
    {
        const int BlockSize = 16, Prompt = 112, PassedBlock = 4;
        AttentionWeights shape = Shape(4, 2, 64) with { Window = 20 };
        StepLimits limits = new(Prompt, 2, BlockSize, 8);
        Twins.Tested.Prepare(Batches.Shape(), limits);
        Twins.Reference.Prepare(Batches.Shape(), limits);
        KvLayer tested = Twins.Tested.AllocateKvLayer(Twins.Tested.PrecisionFor(DType.BF16).KvCache, 8, BlockSize, shape.KvHeads, shape.HeadDim), reference = Twins.Reference.AllocateKvLayer(DType.F32, 8, BlockSize, shape.KvHeads, shape.HeadDim);
        TwinBackends.Pair Step(int slot, int position, int[] blocks, TwinBackends.Pair qkv)
        {
            RaggedBatch batch = new(limits);
            for (int i = 0; i < blocks.Length; i++) batch.SetBlock(slot, i, blocks[i]);
            batch.AddSequence(slot, new int[qkv.Tested.Rows], position, blocks);
            TwinBackends.Pair output = Twins.Rows(batch.TokenCount, shape.QueryColumns);
            foreach ((IBackend backend, Tensor rows, Tensor result, KvLayer cache) in (ReadOnlySpan<(IBackend, Tensor, Tensor, KvLayer)>)[(Twins.Tested, qkv.Tested, output.Tested, tested), (Twins.Reference, qkv.Reference, output.Reference, reference)])
            {
                backend.Submit(batch, (_, _) =>
                {
                    backend.StoreKv(rows, cache, shape, batch);
                    backend.Attention(result, rows, cache, shape, batch);
                });
            }
            return output;
        }

        Step(0, 0, [0, 1, 2, 3, PassedBlock, 5, 6, 7], Twins.Rows(Prompt, shape.QkvColumns));
        Step(1, 0, [PassedBlock], Twins.Rows(BlockSize, shape.QkvColumns, float.NaN));

        Twins.AssertClose(Step(0, Prompt, [0, 1, 2, 3, PassedBlock, 5, 6, 7], Twins.Rows(3, shape.QkvColumns)), 10 * Tolerance, "attention");
    }

    [Test]
    public void Attention_Alibi_MatchesReference()
    {
        float[] slopes = [0.5f, 0.25f, 0.125f, 0.0625f, 0.03f, 1];
        CheckAttention(Shape(6, 2, 40), blockSize: 16, alibi: slopes);
        CheckAttention(Shape(6, 6, 16) with { Window = 19 }, blockSize: 5, alibi: slopes);
    }

    [TestCase(64, 64)]
    [TestCase(80, 32)]
    [TestCase(64, 16)]
    [TestCase(20, 6)]
    [TestCase(256, 256)]
    public void StoreKv_Rotation_MatchesReference(int headDim, int rotated) => CheckAttention(Shape(4, 2, headDim), blockSize: 16, rotated: rotated);

    [Test]
    public void StoreKv_HeadNormsAndQueryScales_MatchesReference() => CheckAttention(Shape(4, 2, 48), blockSize: 16, rotated: 48, headNorms: true, queryScales: true);

    [Test]
    public void Attention_LargeScores_StaysFinite() => CheckAttention(Shape(4, 2, 32) with { Scale = 30 }, blockSize: 16);

    private static AttentionWeights Shape(int heads, int kvHeads, int headDim) => new() { Heads = heads, KvHeads = kvHeads, HeadDim = headDim, Scale = 1 / MathF.Sqrt(headDim) };

    private void CheckAttention(AttentionWeights shape, int blockSize, int rotated = 0, bool headNorms = false, bool queryScales = false, float[]? alibi = null)
    {
        const int Positions = 160, RotaryBase = 20;
        (AttentionWeights tested, AttentionWeights reference) = (shape, shape);
        if (rotated > 0)
        {
            TwinBackends.Pair table = Twins.Table(Twins.Values((Positions + RotaryBase) * rotated, 0.5f), rotated);
            (tested, reference) = (tested with { Rotary = table.Tested }, reference with { Rotary = table.Reference });
        }
        if (headNorms)
        {
            (NormWeights testedQuery, NormWeights referenceQuery) = Twins.Norm(NormKind.Rms, shape.HeadDim, beta: false);
            (NormWeights testedKey, NormWeights referenceKey) = Twins.Norm(NormKind.Layer, shape.HeadDim, beta: true);
            (tested, reference) = (tested with { QueryNorm = testedQuery, KeyNorm = testedKey }, reference with { QueryNorm = referenceQuery, KeyNorm = referenceKey });
        }
        if (queryScales)
        {
            TwinBackends.Pair scales = Twins.Vector(Positions, mean: 1);
            (tested, reference) = (tested with { QueryScales = scales.Tested }, reference with { QueryScales = scales.Reference });
        }
        if (alibi is not null)
        {
            TwinBackends.Pair slopes = Twins.Vector(alibi);
            (tested, reference) = (tested with { AlibiSlopes = slopes.Tested }, reference with { AlibiSlopes = slopes.Reference });
        }
        PagedSequences sequences = new(slots: 3, blockSize, blocksPerSequence: (Positions + blockSize - 1) / blockSize, tokens: 128);
        DType cacheType = Twins.Tested.PrecisionFor(DType.BF16).KvCache;
        KvLayer testedCache = Twins.Tested.AllocateKvLayer(cacheType, sequences.Blocks, blockSize, shape.KvHeads, shape.HeadDim);
        KvLayer referenceCache = Twins.Reference.AllocateKvLayer(DType.F32, sequences.Blocks, blockSize, shape.KvHeads, shape.HeadDim);
        Twins.Tested.Prepare(Batches.Shape(), sequences.Limits);
        Twins.Reference.Prepare(Batches.Shape(), sequences.Limits);
        void Step(params (int Slot, int Count)[] parts)
        {
            RaggedBatch batch = sequences.Next(parts);
            TwinBackends.Pair qkv = Twins.Rows(batch.TokenCount, shape.QkvColumns), output = Twins.Rows(batch.TokenCount, shape.QueryColumns);
            Twins.Tested.Submit(batch, (_, _) =>
            {
                Twins.Tested.StoreKv(qkv.Tested, testedCache, tested, batch);
                Twins.Tested.Attention(output.Tested, qkv.Tested, testedCache, tested, batch);
            });
            Twins.Reference.Submit(batch, (_, _) =>
            {
                Twins.Reference.StoreKv(qkv.Reference, referenceCache, reference, batch);
                Twins.Reference.Attention(output.Reference, qkv.Reference, referenceCache, reference, batch);
            });
            string name = string.Join(", ", parts);
            Twins.AssertClose(qkv, 4 * Tolerance, $"qkv of {name}");
            Twins.AssertClose(output, 10 * Tolerance, $"attention of {name}");
        }

        Step((0, 37), (2, 1));
        Step((0, 1), (1, 65), (2, 17));
        Step((2, 1), (1, 1), (0, 1));
        Step((1, 62), (2, 43));
        Step((0, 1), (1, 1), (2, 1));
    }
}
