using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cpu;

namespace FastGen.Benchmarks;

/// <summary>The CPU's attention over long contexts: a decode step against reading the same cache, a prompt's chunk against a product of as many rows.</summary>
internal static unsafe class CpuAttentionBenchmark
{
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
        foreach (int context in new[] { 4096, 16384 })
        {
            foreach ((int heads, int kvHeads, int headDim) in Shapes)
            {
                using IBackend attending = CpuBackend.Create(threads);
                CachedSequence sequence = new(attending, heads, kvHeads, headDim, context);
                string shape = $"{heads}/{kvHeads} heads of {headDim}";
                double[] decode = CpuBenchmark.Alternate(20, () => pool.Run(new ReadWork(sequence.Caches)), () => sequence.Attend(1));
                string[] rates = [.. decode.Select(time => $"{sequence.Caches.Sum(cache => (double)cache.Bytes) / time / 1e9:F1} GB/s")];
                CpuBenchmark.Print($"decode at {context}, {shape}", rates[1], "plain read", rates[0], decode[0] / decode[1]);
                double[] prompt = CpuBenchmark.Alternate(3, Multiply, () => sequence.Attend(Chunk));
                double ours = sequence.Caches.Length * 4.0 * heads * headDim * Chunk * (context - (Chunk / 2)) / prompt[1] / 1e9, limit = 2.0 * Chunk * 4096 * 4096 / prompt[0] / 1e9;
                CpuBenchmark.Print($"last {Chunk} of {context}, {shape}", $"{ours:F0} GFLOP/s", "F32 product", $"{limit:F0} GFLOP/s", ours / limit);
            }
        }
    }

    // One sequence, its blocks scattered, in as many layers as the processor's caches do not hold.
    private sealed class CachedSequence
    {
        private const long CacheBytes = 256 << 20;
        private const int MostLayers = 16;

        private readonly IBackend _backend;
        private readonly AttentionWeights _attention;
        private readonly KvLayer[] _layers;
        private readonly RaggedBatch _batch;
        private readonly int[] _table;
        private readonly Tensor _qkv, _output;
        private readonly int _context;

        public CachedSequence(IBackend backend, int heads, int kvHeads, int headDim, int context)
        {
            _backend = backend;
            _context = context;
            _attention = new AttentionWeights { Heads = heads, KvHeads = kvHeads, HeadDim = headDim, Scale = 1 / MathF.Sqrt(headDim) };
            _table = [.. Enumerable.Range(0, context / BlockSize)];
            new Random(2).Shuffle(_table);
            StepLimits limits = new(context, 1, BlockSize, _table.Length);
            _batch = new RaggedBatch(limits);
            long layerBytes = sizeof(float) * 2L * context * kvHeads * headDim;
            _layers = [.. Enumerable.Range(0, (int)Math.Min(MostLayers, (CacheBytes / layerBytes) + 1)).Select(_ => backend.AllocateKvLayer(DType.F32, _table.Length, BlockSize, kvHeads, headDim))];
            _qkv = backend.Allocate(DType.F32, context, _attention.QkvColumns);
            _output = backend.Allocate(DType.F32, Chunk, _attention.QueryColumns);
            backend.Upload(MemoryMarshal.AsBytes<float>(CpuBenchmark.Values(context * _attention.QkvColumns)), DType.F32, _qkv);
            backend.Prepare(new ModelShape { Layers = _layers.Length, HiddenSize = 8, VocabularySize = 8, MlpColumns = 8, Heads = heads, KvHeads = kvHeads, HeadDim = headDim, MaxContext = context, WeightType = DType.F32 }, limits);
            _batch.Clear();
            for (int i = 0; i < _table.Length; i++) _batch.SetBlock(0, i, _table[i]);
            _batch.AddSequence(0, new int[context], 0, _table);
            Submit(layer => backend.StoreKv(_qkv, layer, _attention, _batch));
        }

        // What a decode step reads.
        public Tensor[] Caches => [.. _layers.Select(layer => layer.Storage)];

        // The attention of the last tokens, in all layers.
        public void Attend(int count)
        {
            _batch.Clear();
            _batch.AddSequence(0, new int[count], _context - count, _table);
            Submit(layer => _backend.Attention(_output.WithRows(count), _qkv.WithRows(count), layer, _attention, _batch));
        }

        private void Submit(Action<KvLayer> operation) => _backend.Submit(_batch, (_, _) => Array.ForEach(_layers, operation));
    }
}
