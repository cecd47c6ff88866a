using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Tests;

/// <summary>Operations that read a batch: embedding, the cache, attention, selection and sampling, in steps as the engine submits them.</summary>
[TestFixture(true)]
[TestFixture(false)]
public sealed class CudaStepTests(bool hopper) : CudaStepFixture
{
    private protected override CudaBackend MakeBackend() => new(options: new CudaOptions { UseHopperInstructions = hopper });

    private static IEnumerable<TestCaseData> AttentionCases()
    {
        foreach (DType type in Types)
        {
            yield return new TestCaseData(type, 4, 4, 64, 16, 0, false, false);
            yield return new TestCaseData(type, 8, 2, 128, 16, 0, false, true);
            yield return new TestCaseData(type, 6, 2, 80, 32, 0, false, false);
            yield return new TestCaseData(type, 4, 1, 64, 16, 7, false, false);
            yield return new TestCaseData(type, 14, 2, 32, 16, 0, true, false);
            yield return new TestCaseData(type, 21, 1, 64, 16, 40, false, false);
            yield return new TestCaseData(type, 2, 1, 256, 16, 0, false, true);
            yield return new TestCaseData(type, 3, 3, 16, 5, 0, false, false);
            yield return new TestCaseData(type, 16, 1, 128, 48, 33, true, true);
            yield return new TestCaseData(type, 4, 2, 20, 16, 0, false, false);
            yield return new TestCaseData(type, 64, 64, 64, 16, 0, false, false);
            yield return new TestCaseData(type, 8, 2, 128, 16, 150, false, false);
            yield return new TestCaseData(type, 7, 1, 128, 16, 0, true, false);
            yield return new TestCaseData(type, 8, 1, 128, 32, 0, false, false);
            yield return new TestCaseData(type, 4, 4, 80, 16, 100, false, true);
            yield return new TestCaseData(type, 8, 1, 96, 16, 0, true, false);
            yield return new TestCaseData(type, 3, 3, 96, 32, 21, false, false);
            yield return new TestCaseData(type, 8, 1, 256, 16, 60, false, false);
            yield return new TestCaseData(type, 7, 7, 256, 16, 0, true, false);
        }
    }

    [TestCaseSource(nameof(AttentionCases))]
    public void Attention_PromptsChunksAndDecodes_AgreesWithReference(DType type, int heads, int kvHeads, int headDim, int blockSize, int window, bool alibi, bool normed)
    {
        StepLimits limits = new(Tokens: 700, Sequences: 8, blockSize, BlocksPerSequence: (400 / blockSize) + 1);
        Prepare(limits, heads, kvHeads, headDim, type);
        int rotated = headDim >= 64 ? headDim / 2 : headDim;
        AttentionWeights Layer(Func<Twin, Tensor> on) => new()
        {
            Heads = heads,
            KvHeads = kvHeads,
            HeadDim = headDim,
            Scale = 1 / MathF.Sqrt(headDim),
            Window = window,
            Rotary = alibi ? null : on(_rotary),
            AlibiSlopes = alibi ? on(_slopes) : null,
            QueryNorm = normed ? new NormWeights(NormKind.Rms, on(_gamma), null, 1e-6f) : null,
            KeyNorm = normed ? new NormWeights(NormKind.Rms, on(_gamma), null, 1e-6f) : null,
            QueryScales = normed ? on(_scales) : null,
        };
        _rotary = Rotary(420, rotated);
        _slopes = Vector(heads, 0.2f, 0.3f);
        _gamma = Vector(headDim, 0.3f, 1);
        _scales = Vector(420, 0.2f, 1);
        int blocks = limits.Sequences * limits.BlocksPerSequence;
        KvLayer cudaCache = Cuda.AllocateKvLayer(type, blocks, blockSize, kvHeads, headDim), referenceCache = Reference.AllocateKvLayer(DType.F32, blocks, blockSize, kvHeads, headDim);
        int columns = (heads + (2 * kvHeads)) * headDim;
        Pool pool = new(limits, Random);

        // Prompts of several lengths, then a chunk beside decodes, then decodes alone, twice, so that the second is recorded and the third replayed.
        (int Slot, int Count)[][] steps =
        [
            [(0, 1), (3, 130), (1, 17), (5, 64)], [(3, 1), (0, 33), (1, 1), (2, 150)], [(3, 100), (0, 1), (2, 65), (5, 2)],
            [(0, 1), (1, 1), (2, 1), (3, 1), (5, 1)], [(5, 1), (1, 1), (2, 1), (0, 1), (3, 1)], [(0, 1), (1, 1), (3, 1), (2, 1), (5, 1)], [(0, 1), (1, 1), (2, 1), (3, 1), (5, 1), (7, 1)],
        ];
        Twin qkv = Activations(type, limits.Tokens, columns), output = Activations(type, limits.Tokens, heads * headDim);
        void OnCuda(int rows, int logitRows)
        {
            Cuda.StoreKv(qkv.Cuda.WithRows(rows), cudaCache, Layer(twin => twin.Cuda), _batch);
            Cuda.Attention(output.Cuda.WithRows(rows), qkv.Cuda.WithRows(rows), cudaCache, Layer(twin => twin.Cuda), _batch);
        }
        foreach ((int Slot, int Count)[] step in steps)
        {
            _batch = pool.Batch(step);
            Refill(qkv, type);
            long ticket = Cuda.Submit(_batch, OnCuda);
            Reference.Submit(_batch, (rows, _) =>
            {
                Reference.StoreKv(qkv.Reference.WithRows(rows), referenceCache, Layer(twin => twin.Reference), _batch);
                Reference.Attention(output.Reference.WithRows(rows), qkv.Reference.WithRows(rows), referenceCache, Layer(twin => twin.Reference), _batch);
            });
            Cuda.Collect(ticket, new int[_batch.LogitRowCount]);
            AssertClose(output.WithRows(_batch.TokenCount), type, slack: type == DType.F32 ? 3 : 1.5f);
        }
    }

    // Few tiles before many keys: CTAs share the keys of a tile.
    [TestCase(DType.BF16, 4, 2, 128, 0)]
    [TestCase(DType.F16, 2, 1, 64, 0)]
    [TestCase(DType.BF16, 2, 2, 80, 900)]
    [TestCase(DType.BF16, 3, 3, 96, 0)]
    [TestCase(DType.F16, 2, 1, 256, 0)]
    public void Attention_ChunksOfLongContexts_AgreesWithReference(DType type, int heads, int kvHeads, int headDim, int window)
    {
        StepLimits limits = new(Tokens: 700, Sequences: 4, BlockSize: 16, BlocksPerSequence: 144);
        Prepare(limits, heads, kvHeads, headDim, type);
        AttentionWeights attention = new() { Heads = heads, KvHeads = kvHeads, HeadDim = headDim, Scale = 2 / MathF.Sqrt(headDim), Window = window };
        int blocks = limits.Sequences * limits.BlocksPerSequence, columns = (heads + (2 * kvHeads)) * headDim;
        KvLayer cudaCache = Cuda.AllocateKvLayer(type, blocks, limits.BlockSize, kvHeads, headDim), referenceCache = Reference.AllocateKvLayer(DType.F32, blocks, limits.BlockSize, kvHeads, headDim);
        Twin qkv = Activations(type, limits.Tokens, columns), output = Activations(type, limits.Tokens, heads * headDim);
        Pool pool = new(limits, Random);
        foreach ((int, int)[] step in ((int, int)[][])[[(0, 700)], [(0, 700)], [(0, 650), (1, 40)], [(0, 33), (1, 100), (2, 1)], [(0, 130), (2, 5)]])
        {
            RaggedBatch batch = pool.Batch(step);
            Refill(qkv, type);
            foreach (IBackend backend in (IBackend[])[Cuda, Reference])
            {
                (Tensor rows, Tensor target, KvLayer cache) = backend == Cuda ? (qkv.Cuda, output.Cuda, cudaCache) : (qkv.Reference, output.Reference, referenceCache);
                long ticket = backend.Submit(batch, (count, _) =>
                {
                    backend.StoreKv(rows.WithRows(count), cache, attention, batch);
                    backend.Attention(target.WithRows(count), rows.WithRows(count), cache, attention, batch);
                });
                backend.Collect(ticket, new int[batch.LogitRowCount]);
            }

            AssertClose(output.WithRows(batch.TokenCount), type, slack: 1.5f);
        }
    }

    [TestCase(DType.F32, DType.F32)]
    [TestCase(DType.BF16, DType.F32)]
    [TestCase(DType.F16, DType.F16)]
    public void Embed_PositionsAndSelection_AgreeWithReference(DType type, DType outputType)
    {
        StepLimits limits = new(64, 4, 16, 8);
        Prepare(limits, 2, 2, 16, type);
        foreach (int columns in (int[])[64, 37])
        {
            Twin table = Weights(type, Vocabulary, columns), positions = Weights(type, 140, columns), output = Activations(outputType, 64, columns), selected = Activations(outputType, 4, columns);
            RaggedBatch batch = new Pool(limits, Random).Batch([(2, 9), (0, 1), (3, 30)]);

            foreach (IBackend backend in (IBackend[])[Cuda, Reference])
            {
                Tensor On(Twin twin) => backend == Cuda ? twin.Cuda : twin.Reference;
                backend.Submit(batch, (rows, logitRows) =>
                {
                    backend.Embed(On(output).WithRows(rows), On(table), batch);
                    backend.AddPositions(On(output).WithRows(rows), On(positions), 2, batch);
                    backend.SelectRows(On(selected).WithRows(logitRows), On(output).WithRows(rows), batch);
                });
            }

            AssertClose(output.WithRows(batch.TokenCount), outputType);
            AssertClose(selected.WithRows(batch.LogitRowCount), outputType);
        }
    }

    private RaggedBatch _batch = null!;
    private Twin _rotary, _slopes, _gamma, _scales;
}
