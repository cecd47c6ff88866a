using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>How slim.cu cuts a product: warps across the columns, 32-column chunks in flight for each, and CTAs for each multiprocessor.</summary>
internal readonly record struct SlimCut(int Warps, int Ahead, int PerMultiprocessor);

/// <summary>Products of 5 to 16 rows with 16-bit weights: slim.cu, with everything around the product in the same kernel.</summary>
internal sealed class SlimProducts(CudaDevice device, KernelLibrary kernels)
{
    private const int MinRows = 5;
    private const int MaxRows = 16;
    private const int RowsPerOperand = 8;
    private const int ChunkColumns = 32;
    private const int InputRegisters = 64;
    private const int RegistersPerChunk = 4;

    /// <summary>The cut that all products take instead of their own, for measurements; null for none.</summary>
    public SlimCut? Forced { get; set; }

    /// <summary>Whether the kernel serves this product. Norms are fused where the unscaled rows cannot overflow.</summary>
    public static bool Serves(in LinearInput input, Tensor weight) =>
        input.Rows.Rows is >= MinRows and <= MaxRows && weight.Type != DType.F32 && weight.Columns % 8 == 0 && input.Rows.Type is var type && (type == DType.F32 || type == weight.Type)
        && (input.Norm is null || (input.Norm is { Kind: NormKind.Rms, Beta: null } && weight.Type == DType.BF16)) && CutOf(weight.Columns, Operands(input.Rows.Rows)).Warps > 0;

    /// <summary>output = activation(norm(input) · weightᵀ + bias), gated or added to the output.</summary>
    public void Run(Tensor output, in LinearInput input, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        int rows = input.Rows.Rows, operands = Operands(rows), columns = weights.Inputs;
        SlimCut cut = Forced ?? CutOf(columns, operands);
        int chunks = ChunksOf(columns, cut.Warps), hold = 4 / operands;
        KernelConstants constants = new()
        {
            In = input.Rows.Type,
            Weight = weights.Weight.Type,
            Out = output.Type,
            Norm = input.Norm is null ? 0 : 1,
            Activation = activation,
            Gated = gated,
            Accumulate = accumulate,
            Columns = columns,
            Rows = operands * RowsPerOperand,
            Shape = (cut.Warps, chunks, cut.Ahead, hold),
        };
        SlimArguments arguments = new()
        {
            Input = input.Rows.Data,
            Weights = weights.Weight.Data,
            Output = output.Data,
            Gamma = input.Norm?.Gamma.Data ?? 0,
            Bias = weights.Bias?.Data ?? 0,
            Epsilon = input.Norm?.Epsilon ?? 0,
            Outputs = output.Columns,
            Rows = rows,
        };
        int grid = Math.Min(cut.PerMultiprocessor * device.Multiprocessors, (output.Columns + 3) / 4), threads = 32 * cut.Warps;
        // Shared memory beyond need keeps the next kernel's CTAs from piling up on the multiprocessors that are free first.
        int sharedBytes = Math.Max(2 * hold * operands * threads * 16, (device.SharedBytesPerBlock / (cut.PerMultiprocessor + 1)) + 2048);
        kernels.Get("slim", "slim", constants).Launch(arguments, (grid, 1, 1), threads, sharedBytes);
    }

    private static int Operands(int rows) => rows <= RowsPerOperand ? 1 : 2;

    private static int ChunksOf(int columns, int warps) => (columns + (ChunkColumns * warps) - 1) / (ChunkColumns * warps);

    // As many warps as keep the input in registers. In flight: four chunks, or what divides a warp's.
    private static SlimCut CutOf(int columns, int operands)
    {
        foreach (int warps in (ReadOnlySpan<int>)[8, 16])
        {
            int chunks = ChunksOf(columns, warps), ahead = 4;
            if (chunks * operands * RegistersPerChunk > InputRegisters / (warps == 8 ? 2 : 1)) continue;
            while (ahead % chunks != 0 && chunks % ahead != 0) ahead--;
            return new SlimCut(warps, ahead, warps == 8 ? 2 : 1);
        }
        return default;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct SlimArguments
    {
        public nint Input, Weights, Output, Gamma, Bias;
        public float Epsilon;
        public int Outputs, Rows;
    }
}
