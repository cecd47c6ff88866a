using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>
/// Queries, keys and values on their way from a layer's input to the cache: the product, then norms, rotation and scale of each head. Where few rows make
/// it cheap, heads are finished in F32 and rounded once: scores feel the rounding of queries and keys more than anything else that 16 bits cost.
/// </summary>
internal sealed class HeadProducts(CudaDevice device, KernelLibrary kernels, CudaScratch scratch, LinearProducts linear)
{
    private const int PageTokens = 16;
    private const int Warps = 8;
    private const int FewRows = 128;

    /// <summary>Tokens of a page: 16 where a block is a multiple of them, else the block itself is the page.</summary>
    public static int PageOf(int blockSize) => blockSize % PageTokens == 0 ? PageTokens : blockSize;

    /// <summary>[q | k | v] = norm(input) · weightᵀ + bias, finished; keys and values go to the cache. Of <paramref name="qkv"/> only queries and keys have to be written.</summary>
    public void Run(Tensor qkv, in LinearInput input, LinearWeights weights, KvLayer cache, AttentionWeights attention, BatchView view)
    {
        Tensor product = qkv.Rows <= FewRows ? scratch.Matrix(ScratchUse.Heads, DType.F32, qkv.Rows, qkv.Columns) : qkv;
        linear.Linear(product, input, weights, Activation.None, accumulate: false);
        Store(product, qkv, cache, attention, view);
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

    [StructLayout(LayoutKind.Sequential)]
    private struct StoreArguments
    {
        public BatchView Batch;
        public nint Product, Qkv, Cache;
        public HeadArguments Heads;
        public int HeadsPerBlock;
    }
}
