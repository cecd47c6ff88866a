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
        Twin qkv = Activations(DType.F32, limits.Tokens, columns), output = Activations(type, limits.Tokens, heads * headDim);
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

    // One sequence and a few with long contexts, whose splits meet in clusters; many with all lengths; as many of about one length
    // as run at once in small CTAs.
    [TestCase(DType.BF16, 8, 2, 128, 1, 700, 0, 1)]
    [TestCase(DType.F16, 4, 1, 64, 2, 650, 0, 1)]
    [TestCase(DType.BF16, 16, 1, 128, 1, 800, 300, 1)]
    [TestCase(DType.BF16, 3, 3, 80, 3, 530, 0, 1)]
    [TestCase(DType.BF16, 32, 8, 128, 70, 90, 0, 1)]
    [TestCase(DType.F16, 32, 32, 80, 17, 60, 0, 1)]
    [TestCase(DType.BF16, 16, 8, 64, 67, 70, 20, 1)]
    [TestCase(DType.BF16, 16, 8, 256, 36, 40, 0, 1)]
    [TestCase(DType.BF16, 64, 32, 128, 13, 130, 0, 115)]
    [TestCase(DType.F16, 16, 8, 64, 40, 130, 50, 115)]
    [TestCase(DType.BF16, 8, 8, 128, 8, 600, 0, 1)]
    [TestCase(DType.F16, 32, 32, 32, 9, 2150, 0, 1)]
    public void Attention_LongAndManyDecodes_AgreesWithReference(DType type, int heads, int kvHeads, int headDim, int sequences, int longest, int window, int shortest)
    {
        StepLimits limits = new(Tokens: Math.Max(longest, sequences), sequences, 16, BlocksPerSequence: (longest / 16) + 2);
        Prepare(limits, heads, kvHeads, headDim, type);
        _rotary = Rotary(longest + 20, headDim);
        AttentionWeights Layer(Func<Twin, Tensor> on) => new() { Heads = heads, KvHeads = kvHeads, HeadDim = headDim, Scale = 1 / MathF.Sqrt(headDim), Window = window, Rotary = on(_rotary) };
        AttentionWeights onCuda = Layer(twin => twin.Cuda), onReference = Layer(twin => twin.Reference);
        int blocks = limits.Sequences * limits.BlocksPerSequence;
        KvLayer cudaCache = Cuda.AllocateKvLayer(type, blocks, 16, kvHeads, headDim), referenceCache = Reference.AllocateKvLayer(DType.F32, blocks, 16, kvHeads, headDim);
        Pool pool = new(limits, Random);
        Twin qkv = Activations(DType.F32, limits.Tokens, (heads + (2 * kvHeads)) * headDim), output = Activations(type, limits.Tokens, heads * headDim);
        void Store(int rows, int logitRows) => Cuda.StoreKv(qkv.Cuda.WithRows(rows), cudaCache, onCuda, _batch);
        void StoreAndAttend(int rows, int logitRows)
        {
            Store(rows, logitRows);
            Cuda.Attention(output.Cuda.WithRows(rows), qkv.Cuda.WithRows(rows), cudaCache, onCuda, _batch);
        }
        void Step((int Slot, int Count)[] step, bool attends)
        {
            _batch = pool.Batch(step);
            Refill(qkv, type);
            long ticket = Cuda.Submit(_batch, attends ? StoreAndAttend : Store);
            Reference.Submit(_batch, (rows, _) =>
            {
                Reference.StoreKv(qkv.Reference.WithRows(rows), referenceCache, onReference, _batch);
                if (attends) Reference.Attention(output.Reference.WithRows(rows), qkv.Reference.WithRows(rows), referenceCache, onReference, _batch);
            });
            Cuda.Collect(ticket, new int[_batch.LogitRowCount]);
            if (attends) AssertClose(output.WithRows(_batch.TokenCount), type, slack: 1.5f);
        }

        for (int slot = 0; slot < sequences; slot++)
        {
            int prompt = slot == 0 ? longest - 8 : Random.Next(shortest, longest - 8);
            // A longer one only fills the cache: the reference would take most of a minute for its attention.
            Step([(slot, prompt)], attends: prompt <= 1000);
        }
        for (int step = 0; step < 3; step++) Step([.. Enumerable.Range(0, sequences).Select(slot => (slot, 1))], attends: true);
    }

    // Products in a step that add to the residual stream, each before one that norms it.
    [Test]
    public void Linear_SumsThenNorms_AgreesWithReference([Values(DType.BF16, DType.F16)] DType type, [Values(1, 5, 8, 27, 64, 100, 128)] int rows)
    {
        const int Hidden = 520, Mlp = 1024;
        StepLimits limits = new(Tokens: 128, Sequences: 1, 16, BlocksPerSequence: 9);
        Prepare(limits, 2, 2, 16, type);
        Twin out1 = Weights(type, Hidden, Mlp, 1 / MathF.Sqrt(Mlp)), gateUp = Weights(type, 2 * Mlp, Hidden, 1 / MathF.Sqrt(Hidden)), down = Weights(type, Hidden, Mlp, 1 / MathF.Sqrt(Mlp)), head = Weights(type, Mlp, Hidden, 1 / MathF.Sqrt(Hidden));
        Twin attended = Activations(type, rows, Mlp), hidden = Activations(DType.F32, rows, Hidden, 3), mlp = Activations(type, rows, Mlp), last = Activations(DType.F32, rows, Mlp), gamma = Vector(Hidden, 0.3f, 1), bias = Vector(Hidden);
        RaggedBatch batch = new Pool(limits, Random).Batch([(0, rows)]);
        foreach (IBackend backend in (IBackend[])[Cuda, Reference])
        {
            Tensor On(Twin twin) => backend == Cuda ? twin.Cuda : twin.Reference;
            NormWeights norm = new(NormKind.Rms, On(gamma), null, 1e-6f);
            long ticket = backend.Submit(batch, (_, _) =>
            {
                backend.Linear(On(hidden), new LinearInput(On(attended)), new LinearWeights(On(out1), On(bias)), accumulate: true);
                backend.GatedLinear(On(mlp), new LinearInput(On(hidden), norm), new LinearWeights(On(gateUp)), Activation.Silu);
                backend.Linear(On(hidden), new LinearInput(On(mlp)), new LinearWeights(On(down)), accumulate: true);
                backend.Linear(On(last), new LinearInput(On(hidden), norm), new LinearWeights(On(head)));
                backend.Linear(On(hidden), new LinearInput(On(attended)), new LinearWeights(On(out1)), accumulate: true);
            });
            backend.Collect(ticket, new int[1]);
        }

        AssertClose(mlp, type, slack: 3);
        AssertClose(last, type, slack: 3);
        AssertClose(hidden, type, slack: 2);
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
        Twin qkv = Activations(DType.F32, limits.Tokens, columns), output = Activations(type, limits.Tokens, heads * headDim);
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
