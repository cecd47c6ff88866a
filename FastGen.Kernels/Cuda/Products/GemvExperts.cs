using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of a row with its experts: experts_gemv.cu. More rows may be given; weights are then read once a visit.</summary>
internal sealed class GemvExperts(CudaDevice device, KernelLibrary kernels)
{
    private const int ColumnsPerVector = 256;
    private const int MostWarps = 16;
    private const int MostVectors = 4;
    private const int LoadsInFlight = 8;
    private const int MostCtas = 8;

    /// <summary>Whether the kernel serves these experts.</summary>
    public static bool Serves(ExpertWeights weights) => Serves(weights.GateUp) && Serves(weights.Down) && weights.GateUp.Type == weights.Down.Type;

    /// <summary>output = activation(g) ⊙ u, where [g | u] = input · weightᵀ; without an activation input · weightᵀ.</summary>
    /// <param name="output">[visits, outputs] in order of expert.</param>
    /// <param name="input">The batch's rows, or with no <paramref name="sources"/> the visits.</param>
    /// <param name="weight">All experts' weights.</param>
    /// <param name="experts">How many experts there are.</param>
    /// <param name="routes">Who visits whom.</param>
    /// <param name="sources">The input's row of each visit; 0 for the visit itself.</param>
    /// <param name="activation">Function on the gate; null for a plain product.</param>
    public void Run(Tensor output, Tensor input, Tensor weight, int experts, ExpertRoutes routes, nint sources, Activation? activation)
    {
        (int warps, int vectors) = SplitOf(weight.Columns);
        int ctas = warps > MostWarps / 2 ? 1 : Math.Min(MostCtas, MostWarps / warps), halves = activation is null ? 1 : 2;
        KernelConstants constants = ExpertLaunch.Constants(output, weight, activation) with { Columns = weight.Columns, Shape = (warps, vectors, LoadsInFlight / vectors, ctas) };
        GemvArguments arguments = new() { Input = input.Data, Weights = weight.Data, Output = output.Data, Starts = routes.Starts, Sources = sources, Experts = experts, Outputs = output.Columns };
        int startBytes = (experts + 1) * sizeof(float), sumBytes = halves * (warps + 1) * sizeof(float), resident = ctas * device.Multiprocessors;
        // Where the sums of an even share do not fit, shares are smaller, and not all CTAs are resident.
        long all = (long)routes.Visits * output.Columns, mostShare = (device.SharedBytesPerBlock - startBytes) / sumBytes;
        long rounds = mostShare >= output.Columns ? 1 : (all + (resident * mostShare) - 1) / (resident * mostShare);
        int grid = (int)(rounds * resident), sharedBytes = startBytes + (int)(Math.Min((all + grid - 1) / grid, output.Columns) * sumBytes);
        kernels.Get("experts_gemv", "experts_gemv", constants).Launch(arguments, (grid, 1, 1), warps * 32, sharedBytes);
    }

    private static bool Serves(Tensor weight) => weight.Type != DType.F32 && weight.Columns % 8 == 0 && weight.Columns <= MostWarps * MostVectors * ColumnsPerVector;

    // Least waste first, then eight warps of two vectors each.
    private static (int Warps, int Vectors) SplitOf(int columns)
    {
        int pieces = (columns + ColumnsPerVector - 1) / ColumnsPerVector, best = int.MaxValue;
        (int Warps, int Vectors) split = default;
        foreach (int vectors in (ReadOnlySpan<int>)[1, 2, 4])
        {
            int warps = (pieces + vectors - 1) / vectors;
            if (warps > MostWarps) continue;
            int cost = (((warps * vectors) - pieces) * 256 / pieces) + Math.Abs(warps - 8) + (vectors == 2 ? 0 : 1);
            if (cost < best) (best, split) = (cost, (warps, vectors));
        }
        return split;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct GemvArguments
    {
        public nint Input, Weights, Output, Starts, Sources;
        public int Experts, Outputs;
    }
}
