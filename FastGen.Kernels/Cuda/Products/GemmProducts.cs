using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>A tile of gemm.cu: weight rows, and CTAs that share them.</summary>
internal readonly record struct GemmTile(int WeightRows, int Cluster);

/// <summary>Products of many rows on Hopper, with all that follows them in the same kernel: gemm.cu.</summary>
internal sealed class GemmProducts(CudaDevice device, KernelLibrary kernels)
{
    private const int TileRows = 128;
    private const int RowBytes = 128;
    private const int StaticSharedBytes = 2048;
    private const int Alignment = 1024;

    private readonly TensorMaps _maps = new();

    /// <summary>Tiles worth trying.</summary>
    public static IReadOnlyList<GemmTile> Tiles { get; } = [new(256, 2), new(192, 2), new(128, 2), new(256, 1)];

    /// <summary>Tiles worth trying for heads; those of whole heads serve.</summary>
    public static IReadOnlyList<GemmTile> HeadTiles { get; } = [new(256, 2), new(240, 2), new(192, 2), new(128, 2), new(256, 1)];

    /// <summary>Whether the kernel serves this product; the input has the weights' type.</summary>
    public bool Serves(Tensor output, Tensor input, Tensor weight, bool accumulate) =>
        kernels.UsesHopperInstructions && weight.Type != DType.F32 && input.Columns % 8 == 0 && output.Columns % 8 == 0 && (output.Type == DType.F32 || (output.Type == weight.Type && !accumulate));

    /// <summary>output = activation(input · weightᵀ + bias), gated or added to the output.</summary>
    public void Run(GemmTile tile, Tensor output, Tensor input, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        KernelConstants constants = new() { Weight = weights.Weight.Type, Out = output.Type, Activation = activation, Gated = gated, Accumulate = accumulate };
        Launch(new PlainArguments { Product = Arguments(tile, output, input, weights) }, constants, tile, input.Rows, output.Columns * (gated ? 2 : 1));
    }

    /// <summary>Heads of queries, keys and values = input · weightᵀ + bias, finished: queries go to <paramref name="qkv"/>, keys and values to the cache alone.</summary>
    public void RunHeads(GemmTile tile, Tensor qkv, Tensor input, LinearWeights weights, KvLayer cache, AttentionWeights attention, BatchView view)
    {
        KernelConstants constants = new() { Weight = weights.Weight.Type, Out = qkv.Type, Fused = true, HeadDim = attention.HeadDim, Columns = attention.Rotary?.Columns ?? 0 };
        HeadsArguments arguments = new() { Product = Arguments(tile, qkv, input, weights), Batch = view, Heads = new HeadArguments(attention), Cache = cache.Storage.Data };
        Launch(arguments, constants, tile, input.Rows, qkv.Columns);
    }

    private GemmArguments Arguments(GemmTile tile, Tensor output, Tensor input, LinearWeights weights) => new()
    {
        WeightMap = _maps.Get(weights.Weight, tile.WeightRows / 2),
        InputMap = _maps.Get(input, TileRows),
        Output = output.Data,
        Bias = weights.Bias?.Data ?? 0,
        Rows = input.Rows,
        Outputs = output.Columns,
        Columns = weights.Inputs,
    };

    private void Launch<T>(in T arguments, KernelConstants constants, GemmTile tile, int rows, int weightRows)
        where T : unmanaged
    {
        int stageBytes = (TileRows + tile.WeightRows) * RowBytes, stages = (device.SharedBytesPerBlock - StaticSharedBytes - Alignment) / stageBytes, clusterRows = TileRows * tile.Cluster;
        long tiles = (long)((rows + clusterRows - 1) / clusterRows) * ((weightRows + tile.WeightRows - 1) / tile.WeightRows);
        int clusters = (int)Math.Min(tiles, device.Multiprocessors / tile.Cluster);
        kernels.Get("gemm", "gemm", constants with { Shape = (tile.WeightRows, tile.Cluster, stages, 0) })
            .Launch(arguments, (clusters * tile.Cluster, 1, 1), threads: 384, (stages * stageBytes) + Alignment, tile.Cluster);
    }

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
