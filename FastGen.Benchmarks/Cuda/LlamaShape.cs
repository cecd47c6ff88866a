using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Benchmarks.Cuda;

/// <summary>The sizes of a Llama-like model.</summary>
internal sealed record LlamaShape(string Name, int Layers, int Hidden, int Mlp, int Heads, int KvHeads, int HeadDim, int Vocabulary, bool NormedHeads, bool TiedHead)
{
    public static LlamaShape Llama8B { get; } = new("Llama-3-8B", 32, 4096, 14336, 32, 8, 128, 128256, NormedHeads: false, TiedHead: false);

    public static LlamaShape Qwen06B { get; } = new("Qwen3-0.6B", 28, 1024, 3072, 16, 8, 128, 151936, NormedHeads: true, TiedHead: true);

    public ModelShape Model(int maxContext) => new()
    {
        Layers = Layers,
        HiddenSize = Hidden,
        VocabularySize = Vocabulary,
        MlpColumns = Mlp,
        Heads = Heads,
        KvHeads = KvHeads,
        HeadDim = HeadDim,
        MaxContext = maxContext,
        WeightType = DType.BF16,
    };

    /// <summary>Bytes of weights that one step reads.</summary>
    public long WeightBytes => 2L * ((Layers * ((long)Hidden * QkvColumns + (long)Heads * HeadDim * Hidden + 3L * Mlp * Hidden)) + ((long)Vocabulary * Hidden));

    /// <summary>Floating-point operations of the products of one token, without the head.</summary>
    public long FlopsPerToken => 2L * Layers * ((long)Hidden * QkvColumns + (long)Heads * HeadDim * Hidden + 3L * Mlp * Hidden);

    /// <summary>Bytes of keys and values of one token.</summary>
    public long CacheBytesPerToken => 4L * Layers * KvHeads * HeadDim;

    public int QkvColumns => (Heads + (2 * KvHeads)) * HeadDim;
}

/// <summary>A model of a shape with random BF16 weights, made in device memory.</summary>
internal sealed class LlamaShapedModel : CausalLM
{
    private const int PatternValues = 16 << 20;

    private readonly LlamaShape _shape;
    private readonly Layer[] _layers;
    private readonly Tensor _embedding;
    private readonly NormWeights _lastNorm;
    private readonly LinearWeights _head;

    public LlamaShapedModel(IBackend backend, LlamaShape shape, int maxContext)
        : base(backend, shape.Model(maxContext))
    {
        _shape = shape;
        byte[] pattern = Pattern(shape.Hidden);
        Tensor Matrix(int rows, int columns)
        {
            Tensor matrix = backend.AllocateWeights(DType.BF16, rows, columns);
            int rowsAPiece = pattern.Length / (2 * columns);
            for (int row = 0; row < rows; row += rowsAPiece) backend.Upload(pattern.AsSpan(0, 2 * columns * Math.Min(rowsAPiece, rows - row)), DType.BF16, matrix, row);
            return matrix;
        }
        NormWeights Norm(int columns)
        {
            float[] ones = new float[columns];
            Array.Fill(ones, 1f);
            Tensor gamma = backend.Allocate(DType.F32, 1, columns);
            backend.Upload(MemoryMarshal.AsBytes<float>(ones), DType.F32, gamma);
            return new NormWeights(NormKind.Rms, gamma, null, 1e-5f);
        }
        Tensor rotary = Rotary(backend, maxContext, shape.HeadDim);
        _embedding = Matrix(shape.Vocabulary, shape.Hidden);
        _layers = [.. Enumerable.Range(0, shape.Layers).Select(_ => new Layer(
            Norm(shape.Hidden), new LinearWeights(Matrix(shape.QkvColumns, shape.Hidden)),
            new AttentionWeights
            {
                Heads = shape.Heads,
                KvHeads = shape.KvHeads,
                HeadDim = shape.HeadDim,
                Scale = 1 / MathF.Sqrt(shape.HeadDim),
                Rotary = rotary,
                QueryNorm = shape.NormedHeads ? Norm(shape.HeadDim) : null,
                KeyNorm = shape.NormedHeads ? Norm(shape.HeadDim) : null,
            },
            new LinearWeights(Matrix(shape.Hidden, shape.Heads * shape.HeadDim)), Norm(shape.Hidden), new LinearWeights(Matrix(2 * shape.Mlp, shape.Hidden)), new LinearWeights(Matrix(shape.Hidden, shape.Mlp))))];
        _lastNorm = Norm(shape.Hidden);
        _head = new LinearWeights(shape.TiedHead ? _embedding : Matrix(shape.Vocabulary, shape.Hidden));
    }

    /// <summary>The operations that a pass runs; leaving some out shows what they cost.</summary>
    public Operations Operations { get; set; } = Operations.All;

    public override void Forward(in ForwardPass pass)
    {
        (IBackend backend, RaggedBatch batch, KvCache cache, Activations buffers) = pass;
        if (Operations.HasFlag(Operations.Ends)) backend.Embed(buffers.Hidden, _embedding, batch);
        for (int i = 0; i < _layers.Length; i++)
        {
            Layer layer = _layers[i];
            LinearInput normed = new(buffers.Hidden, layer.AttentionNorm);
            if (Operations.HasFlag(Operations.Qkv | Operations.Store)) backend.ProjectQkv(buffers.Qkv, normed, layer.Qkv, cache[i], layer.Attention, batch);
            else if (Operations.HasFlag(Operations.Qkv)) backend.Linear(buffers.Qkv, normed, layer.Qkv);
            else if (Operations.HasFlag(Operations.Store)) backend.StoreKv(buffers.Qkv, cache[i], layer.Attention, batch);
            if (Operations.HasFlag(Operations.Attention)) backend.Attention(buffers.Attended, buffers.Qkv, cache[i], layer.Attention, batch);
            if (Operations.HasFlag(Operations.Out)) backend.Linear(buffers.Hidden, new LinearInput(buffers.Attended), layer.Out, accumulate: true);
            if (Operations.HasFlag(Operations.GateUp)) backend.GatedLinear(buffers.Mlp, new LinearInput(buffers.Hidden, layer.MlpNorm), layer.GateUp, Activation.Silu);
            if (Operations.HasFlag(Operations.Down)) backend.Linear(buffers.Hidden, new LinearInput(buffers.Mlp), layer.Down, accumulate: true);
        }
        if (batch.LogitRowCount == 0) return;
        if (Operations.HasFlag(Operations.Ends)) backend.SelectRows(buffers.Last, buffers.Hidden, batch);
        if (Operations.HasFlag(Operations.Head)) backend.Linear(buffers.Logits, new LinearInput(buffers.Last, _lastNorm), _head);
    }

    // Uniform values whose products with unit rows keep their size.
    private static byte[] Pattern(int hidden)
    {
        byte[] bytes = new byte[2 * PatternValues];
        Span<ushort> values = MemoryMarshal.Cast<byte, ushort>(bytes.AsSpan());
        Random random = new(1);
        float scale = 1.5f / MathF.Sqrt(hidden);
        for (int i = 0; i < values.Length; i++) values[i] = (ushort)(BitConverter.SingleToUInt32Bits(((2 * random.NextSingle()) - 1) * scale) >> 16);
        return bytes;
    }

    private static Tensor Rotary(IBackend backend, int positions, int columns)
    {
        float[] values = new float[positions * columns];
        for (int position = 0; position < positions; position++)
        {
            for (int i = 0; i < columns / 2; i++)
            {
                double angle = position * Math.Pow(500000, -2.0 * i / columns);
                (values[(position * columns) + i], values[(position * columns) + (columns / 2) + i]) = ((float)Math.Cos(angle), (float)Math.Sin(angle));
            }
        }
        Tensor table = backend.Allocate(DType.F32, positions, columns);
        backend.Upload(MemoryMarshal.AsBytes<float>(values), DType.F32, table);
        return table;
    }

    private sealed record Layer(NormWeights AttentionNorm, LinearWeights Qkv, AttentionWeights Attention, LinearWeights Out, NormWeights MlpNorm, LinearWeights GateUp, LinearWeights Down);
}

/// <summary>Parts of a step.</summary>
[Flags]
internal enum Operations
{
    None = 0,
    Qkv = 1,
    Store = 2,
    Attention = 4,
    Out = 8,
    GateUp = 16,
    Down = 32,
    Head = 64,
    Ends = 128,
    Sample = 256,
    All = 511,
}
