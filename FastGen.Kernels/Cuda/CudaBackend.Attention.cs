using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private const int PageTokens = 16;
    private const int HeadsPerBlock = 4;

    /// <inheritdoc/>
    public void StoreKv(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        Check(qkv, cache, attention);
        StoreArguments arguments = new()
        {
            Batch = View(batch),
            Qkv = qkv.Data,
            Cache = cache.Storage.Data,
            Rotary = attention.Rotary?.Data ?? 0,
            QueryGamma = attention.QueryNorm?.Gamma.Data ?? 0,
            QueryBeta = attention.QueryNorm?.Beta?.Data ?? 0,
            KeyGamma = attention.KeyNorm?.Gamma.Data ?? 0,
            KeyBeta = attention.KeyNorm?.Beta?.Data ?? 0,
            QueryScales = attention.QueryScales?.Data ?? 0,
            QueryEpsilon = attention.QueryNorm?.Epsilon ?? 0,
            KeyEpsilon = attention.KeyNorm?.Epsilon ?? 0,
            Heads = attention.Heads,
            KvHeads = attention.KvHeads,
            RotaryColumns = attention.Rotary?.Columns ?? 0,
            QueryNorm = KindOf(attention.QueryNorm),
            KeyNorm = KindOf(attention.KeyNorm),
        };
        int heads = attention.Heads + (2 * attention.KvHeads);
        _kernels.Get("store_kv", "store_kv", ConstantsOf(qkv, cache, attention)).Launch(arguments, (qkv.Rows, (heads + HeadsPerBlock - 1) / HeadsPerBlock, 1), threads: 32 * HeadsPerBlock);
    }

    /// <inheritdoc/>
    public void Attention(Tensor output, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        Check(qkv, cache, attention);
        AttentionArguments arguments = new()
        {
            Batch = View(batch),
            Qkv = qkv.Data,
            Cache = cache.Storage.Data,
            Output = output.Data,
            BlockTables = Steps.BlockTables,
            Slopes = attention.AlibiSlopes?.Data ?? 0,
            Scale = attention.Scale,
            Heads = attention.Heads,
            KvHeads = attention.KvHeads,
            Window = attention.Window,
            BlockSize = cache.BlockSize,
            BlocksPerSequence = Steps.Limits.BlocksPerSequence,
        };
        _kernels.Get("attention", "attention", ConstantsOf(qkv, cache, attention)).Launch(arguments, (qkv.Rows, (attention.Heads + HeadsPerBlock - 1) / HeadsPerBlock, 1), threads: 32 * HeadsPerBlock);
    }

    private static bool CanSplit(ModelShape shape) => false;

    private static int KindOf(NormWeights? norm) => norm is null ? 0 : norm.Kind == NormKind.Rms ? 1 : 2;

    private static KernelConstants ConstantsOf(Tensor qkv, KvLayer cache, AttentionWeights attention) =>
        new() { In = qkv.Type, HeadDim = attention.HeadDim, Group = attention.Heads / attention.KvHeads, Page = PageOf(cache.BlockSize) };

    // Pages of 16 tokens where a block is a multiple of them, else the block itself is the page.
    private static int PageOf(int blockSize) => blockSize % PageTokens == 0 ? PageTokens : blockSize;

    private static void Check(Tensor qkv, KvLayer cache, AttentionWeights attention)
    {
        if (qkv.Type != cache.Storage.Type) throw new ArgumentException($"The cache holds {cache.Storage.Type}, the rows are {qkv.Type}; {nameof(PrecisionFor)} says what each has to be.", nameof(cache));
        if (cache.KvHeads != attention.KvHeads || cache.HeadDim != attention.HeadDim) throw new ArgumentException($"The cache holds {cache.KvHeads} heads of {cache.HeadDim}, the layer has {attention.KvHeads} of {attention.HeadDim}.", nameof(cache));
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct StoreArguments
    {
        public BatchView Batch;
        public nint Qkv, Cache, Rotary, QueryGamma, QueryBeta, KeyGamma, KeyBeta, QueryScales;
        public float QueryEpsilon, KeyEpsilon;
        public int Heads, KvHeads, RotaryColumns, QueryNorm, KeyNorm;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct AttentionArguments
    {
        public BatchView Batch;
        public nint Qkv, Cache, Output, BlockTables, Slopes;
        public float Scale;
        public int Heads, KvHeads, Window, BlockSize, BlocksPerSequence;
    }
}
