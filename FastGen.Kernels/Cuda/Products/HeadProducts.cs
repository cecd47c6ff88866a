using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>
/// Queries, keys and values on their way from a layer's input to the cache: the product, then norms, rotation and scale of each head. Where both are
/// known together, heads are finished before they are rounded to 16 bits.
/// </summary>
internal sealed class HeadProducts(CudaDevice device, KernelLibrary kernels, CudaScratch scratch, LinearProducts linear, CudaOptions options)
{
    private const int PageTokens = 16;
    private const int Warps = 8;

    private readonly GemmProducts _gemm = new(device, kernels);
    private readonly TimedChoice<ProductKey> _choice = new(device);

    /// <summary>Tokens of a page: 16 where a block is a multiple of them, else the block itself is the page.</summary>
    public static int PageOf(int blockSize) => blockSize % PageTokens == 0 ? PageTokens : blockSize;

    /// <summary>[q | k | v] = norm(input) · weightᵀ + bias, finished; keys and values go to the cache. Of <paramref name="qkv"/> only the queries have to be written.</summary>
    public void Run(Tensor qkv, in LinearInput input, LinearWeights weights, KvLayer cache, AttentionWeights attention, BatchView view)
    {
        if (qkv.Rows <= LinearProducts.FewRows)
        {
            Tensor product = scratch.Matrix(ScratchUse.Heads, DType.F32, qkv.Rows, qkv.Columns);
            linear.Linear(product, input, weights, Activation.None, accumulate: false);
            Store(product, qkv, cache, attention, view);
            return;
        }
        Tensor rows = linear.Prepared(input, weights.Weight.Type);
        GemmTile tile = default;
        if (Serves(qkv, rows, weights.Weight, cache, attention))
        {
            ProductKey key = new(LinearProducts.Bucket(rows.Rows), weights.Outputs, weights.Inputs, qkv.Type, attention.HeadDim);
            tile = options.ForcedGemm ?? Candidate(_choice.TryGet(key, out int chosen) ? chosen : Choose(key, qkv, rows, weights, cache, attention, view));
        }
        Run(tile, qkv, rows, weights, cache, attention, view);
    }

    /// <summary>Finishes the heads of <paramref name="product"/>, which may be <paramref name="qkv"/> itself; keys and values go to the cache.</summary>
    public void Store(Tensor product, Tensor qkv, KvLayer cache, AttentionWeights attention, BatchView view)
    {
        // Many rows: a CTA for each; few: a CTA for every eight heads.
        int heads = attention.Heads + (2 * attention.KvHeads);
        StoreArguments arguments = new()
        {
            Batch = view,
            Product = product.Data,
            Qkv = qkv.Data,
            Cache = cache.Storage.Data,
            Heads = new HeadArguments(attention),
            HeadsPerBlock = qkv.Rows >= device.Multiprocessors ? heads : Warps,
        };
        kernels.Get("store_kv", "store_kv", new KernelConstants { In = product.Type, Out = qkv.Type, HeadDim = attention.HeadDim, Page = PageOf(cache.BlockSize) })
            .Launch(arguments, (qkv.Rows, (heads + arguments.HeadsPerBlock - 1) / arguments.HeadsPerBlock, 1), threads: 32 * Warps);
    }

    private static GemmTile Candidate(int index) => index == 0 ? default : GemmProducts.HeadTiles[index - 1];

    // All ways write the same to the same places, as often as they like.
    private int Choose(ProductKey key, Tensor qkv, Tensor rows, LinearWeights weights, KvLayer cache, AttentionWeights attention, BatchView view) =>
        _choice.Fastest(key, GemmProducts.HeadTiles.Count + 1, candidate =>
        {
            GemmTile tile = Candidate(candidate);
            if (tile.WeightRows % key.HeadDim != 0) return false;
            Run(tile, qkv, rows, weights, cache, attention, view);
            return true;
        });

    private void Run(GemmTile tile, Tensor qkv, Tensor rows, LinearWeights weights, KvLayer cache, AttentionWeights attention, BatchView view)
    {
        if (tile != default && tile.WeightRows % attention.HeadDim == 0)
        {
            _gemm.RunHeads(tile, qkv, rows, weights, cache, attention, view);
            return;
        }
        linear.Linear(qkv, new LinearInput(rows), weights, Activation.None, accumulate: false);
        Store(qkv, qkv, cache, attention, view);
    }

    private bool Serves(Tensor qkv, Tensor rows, Tensor weight, KvLayer cache, AttentionWeights attention) =>
        _gemm.Serves(qkv, rows, weight, accumulate: false) && qkv.Type == weight.Type && cache.BlockSize % PageTokens == 0 && attention.HeadDim % 16 == 0 && (attention.Rotary?.Columns ?? 0) % 16 == 0;

    private readonly record struct ProductKey(int Rows, int Outputs, int Inputs, DType Type, int HeadDim);

    [StructLayout(LayoutKind.Sequential)]
    private struct StoreArguments
    {
        public BatchView Batch;
        public nint Product, Qkv, Cache;
        public HeadArguments Heads;
        public int HeadsPerBlock;
    }
}
