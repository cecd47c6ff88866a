using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of many rows on Hopper, with all that follows them in the same kernel: gemm.cu.</summary>
internal sealed class GemmProducts(CudaDevice device, KernelLibrary kernels, double leastUse)
{
    private const int TileRows = 128;
    private const int TileWeights = 256;
    private const int Cluster = 2;
    private const int ClusterRows = Cluster * TileRows;
    private const int Threads = 384;
    private const int FewestStages = 3;
    private const int StageBytes = (TileRows + TileWeights) * TensorMaps.BoxColumns * sizeof(ushort);
    private const int StaticSharedBytes = 2048;
    private const int Alignment = 1024;

    private readonly TensorMaps _maps = new(device, TensorMap.Promotion256);

    private int Stages => (device.SharedBytesPerBlock - StaticSharedBytes - Alignment) / StageBytes;

    /// <summary>Whether the kernel computes this product; the input has the weights' type.</summary>
    public bool Serves(Tensor output, Tensor weight, bool accumulate) =>
        kernels.UsesHopperInstructions && Stages >= FewestStages && weight.Type != DType.F32 && weight.Rows >= TileWeights && weight.Columns % 8 == 0 && output.Columns % 8 == 0
        && (output.Type == DType.F32 || (output.Type == weight.Type && !accumulate));

    /// <summary>Whether <see cref="RunHeads"/> finishes such heads: tiles are made of whole ones.</summary>
    public bool Serves(Tensor qkv, Tensor weight, KvLayer cache, AttentionWeights attention, int pageTokens) =>
        Serves(qkv, weight, accumulate: false) && cache.Storage.Type == weight.Type && TileWeights % attention.HeadDim == 0 && attention.HeadDim % 16 == 0 && pageTokens == AttentionSplitting.PageTokens
        && (attention.Rotary?.Columns ?? 0) % 16 == 0;

    /// <summary>Whether this many rows fill tiles and waves well enough: each costs the same whether it is full or not.</summary>
    public bool Suits(int rows, int weightRows)
    {
        long clusters = device.Multiprocessors / Cluster, waves = (Tiles(rows, weightRows) + clusters - 1) / clusters;
        return (double)rows * weightRows >= leastUse * waves * clusters * ClusterRows * TileWeights;
    }

    /// <summary>output = activation(input · weightᵀ + bias), gated or added to the output.</summary>
    public void Run(Tensor output, Tensor input, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        KernelConstants constants = new() { Weight = weights.Weight.Type, Out = output.Type, Activation = activation, Gated = gated, Accumulate = accumulate };
        Launch(new PlainArguments { Product = Arguments(output, input, weights) }, constants, input.Rows, weights.Outputs);
    }

    /// <summary>
    /// [q | k | v] = input · weightᵀ + bias, normalized, rotated and scaled in F32 and rounded once, as store_kv.cu does it: queries go to the beginning of their own
    /// head's place in <paramref name="qkv"/>, keys and values to the cache alone.
    /// </summary>
    public void RunHeads(Tensor qkv, Tensor input, LinearWeights weights, KvLayer cache, AttentionWeights attention, BatchView view)
    {
        KernelConstants constants = new()
        {
            Weight = weights.Weight.Type,
            Out = qkv.Type,
            Fused = true,
            HeadDim = attention.HeadDim,
            Columns = attention.Rotary?.Columns ?? 0,
            Page = AttentionSplitting.PageTokens,
        };
        HeadsArguments arguments = new() { Product = Arguments(qkv, input, weights), Batch = view, Heads = new HeadArguments(attention), Cache = cache.Storage.Data };
        Launch(arguments, constants, input.Rows, weights.Outputs);
    }

    private static long Tiles(int rows, int weightRows) => (long)((rows + ClusterRows - 1) / ClusterRows) * ((weightRows + TileWeights - 1) / TileWeights);

    private GemmArguments Arguments(Tensor output, Tensor input, LinearWeights weights) => new()
    {
        WeightMap = _maps.Get(weights.Weight, TileWeights / Cluster),
        InputMap = _maps.Get(input, TileRows),
        Output = output.Data,
        Bias = weights.Bias?.Data ?? 0,
        Rows = input.Rows,
        Outputs = output.Columns,
        Columns = weights.Inputs,
    };

    private void Launch<T>(in T arguments, KernelConstants constants, int rows, int weightRows)
        where T : unmanaged
    {
        int clusters = (int)Math.Min(Tiles(rows, weightRows), device.Multiprocessors / Cluster);
        kernels.Get("gemm", "gemm", constants with { Shape = (Stages, 0, 0, 0) })
            .Launch(arguments, (clusters * Cluster, 1, 1), Threads, (Stages * StageBytes) + Alignment, Cluster);
    }

    // struct GemmArguments of gemm.cu, with what follows it there in either form.
    [StructLayout(LayoutKind.Sequential)]
    private struct GemmArguments
    {
        public TensorMap WeightMap, InputMap;
        public nint Output, Bias;
        public int Rows, Outputs, Columns;
    }

    // Tensor maps align arguments to 64 bytes on the device; these are padded to that.
    [StructLayout(LayoutKind.Sequential, Size = 320)]
    private struct PlainArguments
    {
        public GemmArguments Product;
    }

    [StructLayout(LayoutKind.Sequential, Size = 448)]
    private struct HeadsArguments
    {
        public GemmArguments Product;
        public BatchView Batch;
        public HeadArguments Heads;
        public nint Cache;
    }
}
