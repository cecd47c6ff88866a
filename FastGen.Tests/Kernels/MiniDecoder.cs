using FastGen.Compute;

namespace FastGen.Tests.Kernels;

/// <summary>Two layers of everything, dense and sparse, made of the waist's operations: for tests that compare whole steps.</summary>
public sealed class MiniDecoder : IDisposable
{
    public const int Vocabulary = 131;
    private const int Hidden = 72, Heads = 6, KvHeads = 2, HeadDim = 20, Mlp = 100, Experts = 5, TopK = 2, ExpertColumns = 36, BlockSize = 8, MaxContext = 256;

    private readonly Random _random = new(7);
    private readonly KvLayer[] _caches = new KvLayer[2];
    private readonly Tensor _embedding, _hidden, _qkv, _attended, _mlp, _last, _logits;
    private readonly NormWeights _norm;
    private readonly LinearWeights _qkvWeights, _outputWeights, _gateUpWeights, _downWeights, _head;
    private readonly ExpertWeights _experts;
    private readonly AttentionWeights _attention;
    private readonly Action<int, int> _forward;

    public MiniDecoder(IBackend backend, DType type, int slots, int tokens)
    {
        Backend = backend;
        Sequences = new PagedSequences(slots, BlockSize, MaxContext / BlockSize, tokens);
        Precision precision = backend.PrecisionFor(type);
        _hidden = backend.Allocate(precision.Residual, tokens, Hidden);
        _qkv = backend.Allocate(precision.Qkv, tokens, (Heads + (2 * KvHeads)) * HeadDim);
        _attended = backend.Allocate(precision.Activation, tokens, Heads * HeadDim);
        _mlp = backend.Allocate(precision.Activation, tokens, Mlp);
        _last = backend.Allocate(precision.Residual, slots, Hidden);
        _logits = backend.Allocate(DType.F32, slots, Vocabulary);

        _embedding = Weights(type, Vocabulary, Hidden);
        _norm = new NormWeights(NormKind.Rms, Vector(Hidden, mean: 1), null, 1e-5f);
        _qkvWeights = new LinearWeights(Weights(type, _qkv.Columns, Hidden), Vector(_qkv.Columns, mean: 0));
        _outputWeights = new LinearWeights(Weights(type, Hidden, Heads * HeadDim));
        _gateUpWeights = new LinearWeights(Weights(type, 2 * Mlp, Hidden));
        _downWeights = new LinearWeights(Weights(type, Hidden, Mlp));
        _head = new LinearWeights(_embedding);
        _experts = new ExpertWeights
        {
            Router = new LinearWeights(Weights(type, Experts, Hidden)),
            GateUp = Weights(type, Experts * 2 * ExpertColumns, Hidden),
            Down = Weights(type, Experts * Hidden, ExpertColumns),
            Experts = Experts,
            TopK = TopK,
            NormalizeTopK = true,
            Activation = Activation.Silu,
        };
        Tensor rotary = backend.Allocate(DType.F32, MaxContext, HeadDim);
        backend.Upload(TwinBackends.Bytes([.. Enumerable.Range(0, MaxContext).SelectMany(Turns)]), DType.F32, rotary);
        _attention = new AttentionWeights { Heads = Heads, KvHeads = KvHeads, HeadDim = HeadDim, Scale = 0.3f, Rotary = rotary, Window = 50 };
        for (int i = 0; i < _caches.Length; i++) _caches[i] = backend.AllocateKvLayer(precision.KvCache, Sequences.Blocks, BlockSize, KvHeads, HeadDim);
        backend.Prepare(Batches.Shape(Vocabulary, MaxContext), Sequences.Limits);
        _forward = Forward;
    }

    public IBackend Backend { get; }

    public PagedSequences Sequences { get; }

    /// <summary>Runs one step of <see cref="Sequences"/>' batch and gives the logits of its logit rows.</summary>
    public float[] Logits()
    {
        Step();
        return TwinBackends.Read(Backend, _logits.WithRows(Sequences.Batch.LogitRowCount));
    }

    /// <summary>Runs one step of <see cref="Sequences"/>' batch.</summary>
    public long Step() => Backend.Submit(Sequences.Batch, _forward);

    public void Dispose() => Backend.Dispose();

    private void Forward(int rows, int logitRows)
    {
        RaggedBatch batch = Sequences.Batch;
        Tensor hidden = _hidden.WithRows(rows), qkv = _qkv.WithRows(rows), attended = _attended.WithRows(rows), mlp = _mlp.WithRows(rows), last = _last.WithRows(logitRows), logits = _logits.WithRows(logitRows);
        Backend.Embed(hidden, _embedding, batch);
        for (int layer = 0; layer < _caches.Length; layer++)
        {
            Backend.Linear(qkv, new LinearInput(hidden, _norm), _qkvWeights);
            Backend.StoreKv(qkv, _caches[layer], _attention, batch);
            Backend.Attention(attended, qkv, _caches[layer], _attention, batch);
            Backend.Linear(hidden, new LinearInput(attended), _outputWeights, accumulate: true);
            if (layer == 0)
            {
                Backend.GatedLinear(mlp, new LinearInput(hidden, _norm), _gateUpWeights, Activation.GeluTanh);
                Backend.Linear(hidden, new LinearInput(mlp), _downWeights, accumulate: true);
            }
            else
            {
                Backend.MixtureOfExperts(hidden, new LinearInput(hidden, _norm), _experts);
            }
        }
        Backend.SelectRows(last, hidden, batch);
        Backend.Linear(logits, new LinearInput(last, _norm), _head);
        Backend.Sample(logits, batch);
    }

    private static IEnumerable<float> Turns(int position)
    {
        float[] angles = [.. Enumerable.Range(0, HeadDim / 2).Select(i => position * MathF.Pow(100, -2f * i / HeadDim))];
        return angles.Select(MathF.Cos).Concat(angles.Select(MathF.Sin));
    }

    private Tensor Weights(DType type, int rows, int columns)
    {
        Tensor tensor = Backend.AllocateWeights(type, rows, columns);
        Backend.Upload(TwinBackends.Bytes(Values(rows * columns, 2 / MathF.Sqrt(columns), 0)), DType.F32, tensor);
        return tensor;
    }

    private Tensor Vector(int length, float mean)
    {
        Tensor tensor = Backend.Allocate(DType.F32, 1, length);
        Backend.Upload(TwinBackends.Bytes(Values(length, 0.2f, mean)), DType.F32, tensor);
        return tensor;
    }

    private float[] Values(int count, float scale, float mean) => [.. Enumerable.Range(0, count).Select(_ => mean + (scale * ((float)_random.NextDouble() - 0.5f)))];
}
