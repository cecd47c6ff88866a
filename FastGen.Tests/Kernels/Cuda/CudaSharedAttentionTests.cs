using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Tests;

/// <summary>Steps whose decodes attend beside a chunk, on a stream of their own, wherever that is possible.</summary>
public sealed class CudaSharedAttentionTests : CudaStepFixture
{
    private const int Repetitions = 20;

    private protected override CudaBackend MakeBackend() => new(options: new CudaOptions { SharesAttention = true });

    // The product after the attention reads what both kernels wrote: one of this library's up to 128 rows, one of cuBLASLt's above.
    [TestCase(DType.BF16, 4, 2, 128, 0)]
    [TestCase(DType.F16, 2, 1, 64, 0)]
    [TestCase(DType.BF16, 8, 8, 80, 200)]
    [TestCase(DType.BF16, 3, 3, 96, 0)]
    [TestCase(DType.F16, 16, 1, 128, 0)]
    [TestCase(DType.BF16, 2, 1, 256, 50)]
    public void AttentionAndProduct_DecodesBesideChunks_AgreeWithReference(DType type, int heads, int kvHeads, int headDim, int window)
    {
        const int Outputs = 136;
        StepLimits limits = new(Tokens: 420, Sequences: 12, BlockSize: 16, BlocksPerSequence: 64);
        Prepare(limits, heads, kvHeads, headDim, type);
        AttentionWeights attention = new() { Heads = heads, KvHeads = kvHeads, HeadDim = headDim, Scale = 2 / MathF.Sqrt(headDim), Window = window };
        int blocks = limits.Sequences * limits.BlocksPerSequence;
        KvLayer cudaCache = Cuda.AllocateKvLayer(type, blocks, limits.BlockSize, kvHeads, headDim), referenceCache = Reference.AllocateKvLayer(DType.F32, blocks, limits.BlockSize, kvHeads, headDim);
        Twin qkv = Activations(DType.F32, limits.Tokens, (heads + (2 * kvHeads)) * headDim), attended = Activations(type, limits.Tokens, heads * headDim), output = Activations(DType.F32, limits.Tokens, Outputs);
        Twin weight = Weights(type, Outputs, heads * headDim, 1 / MathF.Sqrt(heads * headDim));
        Pool pool = new(limits, Random);
        foreach ((int, int)[] step in ((int, int)[][])
        [
            [(0, 400), (1, 1)], [(2, 300), (3, 60), (4, 17)], [(0, 1), (1, 1), (2, 1), (5, 97)], [(0, 1), (5, 1), (2, 1), (3, 1), (4, 1), (6, 400)], [(1, 1), (0, 33), (6, 1), (2, 200)],
            [(0, 100), (1, 1), (2, 1), (3, 5), (4, 1)], [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 400)], [(0, 1), (1, 1)], [(2, 2), (3, 1)],
        ])
        {
            RaggedBatch batch = pool.Batch(step);
            Refill(qkv, type);
            foreach (IBackend backend in (IBackend[])[Cuda, Reference])
            {
                Tensor On(Twin twin) => backend == Cuda ? twin.Cuda : twin.Reference;
                KvLayer cache = backend == Cuda ? cudaCache : referenceCache;
                long ticket = backend.Submit(batch, (rows, _) =>
                {
                    backend.StoreKv(On(qkv).WithRows(rows), cache, attention, batch);
                    backend.Attention(On(attended).WithRows(rows), On(qkv).WithRows(rows), cache, attention, batch);
                    backend.Linear(On(output).WithRows(rows), new LinearInput(On(attended).WithRows(rows)), new LinearWeights(On(weight)));
                });
                backend.Collect(ticket, new int[batch.LogitRowCount]);
            }

            AssertClose(attended.WithRows(batch.TokenCount), type, slack: 1.5f);
            AssertClose(output.WithRows(batch.TokenCount), type, slack: 3);
        }
    }

    // Layers that share their rows of attention, so that a kernel that starts too early reads or overwrites another layer's: again and again, and without sharing.
    [TestCase(32, 2600, 992, 32, 8, 128)]
    [TestCase(32, 2600, 256, 32, 8, 128)]
    [TestCase(4, 5000, 992, 32, 8, 128)]
    [TestCase(40, 700, 60, 16, 8, 64)]
    [TestCase(3, 400, 30, 4, 4, 80)]
    [TestCase(100, 300, 400, 8, 4, 256)]
    public void AttentionAndProduct_SameStepAgain_GivesTheSameBits(int decodes, int context, int chunk, int heads, int kvHeads, int headDim)
    {
        const DType Type = DType.BF16;
        const int Layers = 4, Outputs = 264, BlocksAtOnce = 100;
        int start = Math.Min(context, 1024), blocksEach = ((Math.Max(context, start + chunk) + 15) / 16) + 1, rows = decodes + chunk, columns = (heads + (2 * kvHeads)) * headDim;
        StepLimits limits = new(Tokens: Math.Max(rows, 2048), Sequences: decodes + 1, BlockSize: 16, blocksEach);
        Prepare(limits, heads, kvHeads, headDim, Type);
        AttentionWeights attention = new() { Heads = heads, KvHeads = kvHeads, HeadDim = headDim, Scale = 2 / MathF.Sqrt(headDim) };
        int[] all = [.. Enumerable.Range(0, blocksEach * limits.Sequences)];
        Random.Shuffle(all);
        int[][] blocks = [.. all.Chunk(blocksEach)];
        KvLayer[] caches = [.. Enumerable.Range(0, Layers).Select(_ => Cuda.AllocateKvLayer(Type, all.Length, 16, kvHeads, headDim))];
        foreach (KvLayer cache in caches) Fill(cache.Storage, 2);
        Tensor[] given = [.. Enumerable.Range(0, Layers).Select(_ => Cuda.Allocate(DType.F32, rows, columns))], qkv = [.. given.Select(_ => Cuda.Allocate(DType.F32, limits.Tokens, columns))];
        foreach (Tensor values in given) Fill(values, 2);
        Tensor[] outputs = [.. given.Select(_ => Cuda.Allocate(DType.F32, limits.Tokens, Outputs))];
        Tensor attended = Cuda.Allocate(Type, limits.Tokens, heads * headDim), weight = Cuda.AllocateWeights(Type, Outputs, heads * headDim);
        Fill(weight, 0.1f);
        RaggedBatch batch = new(limits);
        for (int slot = 0; slot <= decodes; slot++) Introduce(slot);
        float[][] expected = [];
        for (int repetition = 0; repetition <= Repetitions; repetition++)
        {
            Cuda.SharesAttention = repetition > 0;
            Compose();
            long ticket = Cuda.Submit(batch, Forward);
            Cuda.Collect(ticket, new int[batch.LogitRowCount]);
            float[][] values = [.. outputs.Select(output => Read(Cuda, output.WithRows(rows)))];
            if (repetition == 0)
            {
                Assert.That(values.All(layer => layer.All(float.IsFinite)));
                expected = values;
            }
            for (int layer = 0; layer < Layers; layer++) Assert.That(values[layer].AsSpan().SequenceEqual(expected[layer]), $"layer {layer}, repetition {repetition}");
        }

        void Forward(int count, int logitRows)
        {
            // Queries are rotated in place.
            for (int layer = 0; layer < Layers; layer++) Cuda.CopyOnDevice(given[layer], 0, qkv[layer], 0, (long)rows * columns * sizeof(float));
            for (int layer = 0; layer < Layers; layer++)
            {
                Cuda.StoreKv(qkv[layer].WithRows(count), caches[layer], attention, batch);
                Cuda.Attention(attended.WithRows(count), qkv[layer].WithRows(count), caches[layer], attention, batch);
                Cuda.Linear(outputs[layer].WithRows(count), new LinearInput(attended.WithRows(count)), new LinearWeights(weight));
            }
        }

        // A step takes few new blocks.
        void Introduce(int slot)
        {
            for (int first = 0; first < blocksEach; first += BlocksAtOnce)
            {
                batch.Clear();
                if (first == 0) batch.SetSampling(slot, SamplingParameters.Greedy.ForSlot(0, 1));
                for (int block = first; block < Math.Min(first + BlocksAtOnce, blocksEach); block++) batch.SetBlock(slot, block, blocks[slot][block]);
                batch.AddSequence(slot, [1], 0, blocks[slot]);
                batch.AddLogitRow();
                Cuda.Collect(Cuda.Submit(batch, (_, _) => { }), new int[1]);
            }
        }

        void Compose()
        {
            batch.Clear();
            for (int slot = 0; slot <= decodes; slot++)
            {
                if (slot < decodes) batch.AddSequence(slot, [1], context - 1, blocks[slot]);
                else batch.AddSequence(slot, new int[chunk], start, blocks[slot]);
                batch.AddLogitRow();
            }
        }
    }

    private void Fill(Tensor tensor, float scale)
    {
        // A few rows over and over: caches are large.
        int rows = Math.Max(1, Math.Min(tensor.Rows, (1 << 20) / tensor.Columns));
        byte[] bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(Values(tensor.Type, rows * tensor.Columns, scale)).ToArray();
        for (int row = 0; row < tensor.Rows; row += rows) Cuda.Upload(bytes.AsSpan(0, Math.Min(rows, tensor.Rows - row) * tensor.Columns * sizeof(float)), DType.F32, tensor, row);
    }
}
