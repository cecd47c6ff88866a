using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cpu;

namespace FastGen.Benchmarks;

/// <summary>The CPU's attention over long contexts: a decode step against reading the same cache, a prompt's chunk against a product of as many rows.</summary>
internal static unsafe class CpuAttentionBenchmark
{
    private const int MaxContext = 16384;
    private const int BlockSize = 16;
    private const int Chunk = 512;

    private static readonly (int Heads, int KvHeads, int HeadDim)[] Shapes = [(32, 8, 128), (32, 8, 64), (32, 32, 80), (14, 2, 64)];

    /// <summary>Prints the ratios.</summary>
    public static void Run(int threads)
    {
        using IBackend backend = CpuBackend.Create(threads);
        using WorkerPool pool = new(threads);
        LinearWeights product = new(CpuBenchmark.Weights(backend, DType.F32, 4096, 4096));
        Tensor rows = backend.Allocate(DType.F32, Chunk, 4096), products = backend.Allocate(DType.F32, Chunk, 4096);
        void Multiply() => backend.Linear(products, new LinearInput(rows), product);
        foreach ((int heads, int kvHeads, int headDim) in Shapes)
        {
            using IBackend attending = CpuBackend.Create(threads);
            CachedSequence sequence = new(attending, heads, kvHeads, headDim);
            string shape = $"{heads}/{kvHeads} heads of {headDim}";
            foreach (int context in new[] { 4096, MaxContext })
            {
                (double bytes, Tensor read) = sequence.Cached(context);
                double[] decode = CpuBenchmark.Alternate(20, () => pool.Run(new ReadWork([read])), () => sequence.Attend(context - 1, 1));
                CpuBenchmark.Print($"decode at {context}, {shape}", $"{bytes / decode[1] / 1e9:F1} GB/s", "plain read", $"{bytes / decode[0] / 1e9:F1} GB/s", decode[0] / decode[1]);
                double operations = 4.0 * heads * headDim * Chunk * (context - (Chunk / 2)), productOperations = 2.0 * Chunk * 4096 * 4096;
                double[] prompt = CpuBenchmark.Alternate(3, Multiply, () => sequence.Attend(context - Chunk, Chunk));
                (double ours, double limit) = (operations / prompt[1] / 1e9, productOperations / prompt[0] / 1e9);
                CpuBenchmark.Print($"last {Chunk} of {context}, {shape}", $"{ours:F0} GFLOP/s", "F32 product", $"{limit:F0} GFLOP/s", ours / limit);
            }
        }
    }

    // One sequence of the longest context, its blocks scattered, as one layer of a model sees it.
    private sealed class CachedSequence
    {
        private readonly IBackend _backend;
        private readonly AttentionWeights _attention;
        private readonly KvLayer _cache;
        private readonly RaggedBatch _batch;
        private readonly int[] _table;
        private readonly Tensor _qkv, _output;

        public CachedSequence(IBackend backend, int heads, int kvHeads, int headDim)
        {
            _backend = backend;
            _attention = new AttentionWeights { Heads = heads, KvHeads = kvHeads, HeadDim = headDim, Scale = 1 / MathF.Sqrt(headDim) };
            _table = [.. Enumerable.Range(0, MaxContext / BlockSize)];
            new Random(2).Shuffle(_table);
            StepLimits limits = new(MaxContext, 1, BlockSize, _table.Length);
            _batch = new RaggedBatch(limits);
            _cache = backend.AllocateKvLayer(DType.F32, _table.Length, BlockSize, kvHeads, headDim);
            _qkv = backend.Allocate(DType.F32, MaxContext, _attention.QkvColumns);
            _output = backend.Allocate(DType.F32, Chunk, _attention.QueryColumns);
            backend.Upload(MemoryMarshal.AsBytes<float>(CpuBenchmark.Values(MaxContext * _attention.QkvColumns)), DType.F32, _qkv);
            backend.Prepare(new ModelShape { Layers = 1, HiddenSize = 8, VocabularySize = 8, MlpColumns = 8, Heads = heads, KvHeads = kvHeads, HeadDim = headDim, MaxContext = MaxContext, WeightType = DType.F32 }, limits);
            _batch.Clear();
            for (int i = 0; i < _table.Length; i++) _batch.SetBlock(0, i, _table[i]);
            _batch.AddSequence(0, new int[MaxContext], 0, _table);
            backend.Submit(_batch, (_, _) => backend.StoreKv(_qkv, _cache, _attention, _batch));
        }

        // The bytes that a token at the end of the context reads, and as much of the cache.
        public (double Bytes, Tensor Cache) Cached(int context)
        {
            Tensor read = _cache.Storage.WithRows(context / BlockSize);
            return (read.Bytes, read);
        }

        // The attention of some tokens.
        public void Attend(int first, int count)
        {
            _batch.Clear();
            _batch.AddSequence(0, new int[count], first, _table);
            _backend.Submit(_batch, (_, _) => _backend.Attention(_output.WithRows(count), _qkv.WithRows(count), _cache, _attention, _batch));
        }
    }
}
