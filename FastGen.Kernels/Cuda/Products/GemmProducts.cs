using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

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
    public static IReadOnlyList<GemmTile> Tiles { get; } = [new(256, 2), new(192, 2), new(128, 2)];

    /// <summary>Whether the kernel serves this product; the input has the weights' type.</summary>
    public bool Serves(Tensor output, Tensor input, Tensor weight, bool accumulate) =>
        kernels.UsesHopperInstructions && weight.Type != DType.F32 && input.Columns % 8 == 0 && output.Columns % 8 == 0 && (output.Type == DType.F32 || (output.Type == weight.Type && !accumulate));

    /// <summary>output = activation(input · weightᵀ + bias), gated or added to the output.</summary>
    public void Run(GemmTile tile, Tensor output, Tensor input, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        int stageBytes = (TileRows + tile.WeightRows) * RowBytes, stages = (device.SharedBytesPerBlock - StaticSharedBytes - Alignment) / stageBytes;
        int outputs = gated ? tile.WeightRows / 2 : tile.WeightRows, clusterRows = TileRows * tile.Cluster;
        long tiles = (long)((input.Rows + clusterRows - 1) / clusterRows) * ((output.Columns + outputs - 1) / outputs);
        KernelConstants constants = new()
        {
            Weight = weights.Weight.Type,
            Out = output.Type,
            Activation = activation,
            Gated = gated,
            Accumulate = accumulate,
            Shape = (tile.WeightRows, tile.Cluster, stages, 0),
        };
        GemmArguments arguments = new()
        {
            WeightMap = _maps.Get(weights.Weight, tile.WeightRows / 2),
            InputMap = _maps.Get(input, TileRows),
            Output = output.Data,
            Bias = weights.Bias?.Data ?? 0,
            Rows = input.Rows,
            Outputs = output.Columns,
            Columns = weights.Inputs,
        };
        int clusters = (int)Math.Min(tiles, device.Multiprocessors / tile.Cluster);
        kernels.Get("gemm", "gemm", constants).Launch(arguments, (clusters * tile.Cluster, 1, 1), threads: 384, (stages * stageBytes) + Alignment, tile.Cluster);
    }

    // Padded to the device's alignment of 64 bytes.
    [StructLayout(LayoutKind.Sequential, Size = 320)]
    private struct GemmArguments
    {
        public TensorMap WeightMap, InputMap;
        public nint Output, Bias;
        public int Rows, Outputs, Columns;
    }
}
