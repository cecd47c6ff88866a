using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products of 1 to 4 rows with 16-bit weights: gemv.cu, with everything around the product in the same kernel.</summary>
internal sealed class GemvProducts(CudaDevice device, KernelLibrary kernels)
{
    private const int MaxRows = 4;
    private const int ColumnsPerVector = 256;
    private const int MaxWarps = 16;
    private const int WarpsWanted = 8;
    private const int LoadsInFlight = 8;
    private const int PerMultiprocessor = 3;
    private const int FewRows = 16;
    private const int ManyRows = 40;
    private const int RoundedRows = 4;

    private readonly Dictionary<int, (int Warps, int Vectors)> _splits = [];

    /// <summary>Whether the kernel serves this product.</summary>
    public bool Serves(in LinearInput input, Tensor weight) =>
        weight.Type != DType.F32 && weight.Columns % 8 == 0 && input.Norm is null or { Kind: NormKind.Rms, Beta: null } or { Kind: NormKind.Layer } && Holds(input.Rows.Rows, weight.Columns);

    /// <summary>Whether a CTA's registers hold so many rows of so many columns.</summary>
    public bool Holds(int rows, int columns) => rows <= MaxRows && SplitOf(columns, rows).Warps > 0;

    /// <summary>output = activation(norm(input) · weightᵀ + bias), gated or added to the output, with a <paramref name="second"/> product beside it or joined.</summary>
    public void Run(Tensor output, in LinearInput input, LinearWeights weights, Activation activation, bool gated, bool accumulate, SecondProduct second = default)
    {
        ProductSize size = second.SizeWith(output, weights, gated);
        int rows = input.Rows.Rows, paddedRows = rows == 3 ? 4 : rows;
        (int warps, int vectors) = SplitOf(size.Columns, rows);
        int groups = Math.Max(1, WarpsWanted / warps), logical = size.WeightRows, share = logical / device.Multiprocessors;
        // All CTAs resident at once, evenly spread: as many an SM as fit by their registers where the product is long, fewer where it is short and
        // room for the next kernel's is worth more.
        int perMultiprocessor = warps * groups > WarpsWanted ? 1 : rows > 1 || vectors > 2 || share < FewRows ? 2 : PerMultiprocessor;
        if (rows == 1 && vectors <= 2 && share is >= FewRows and < ManyRows) (perMultiprocessor, groups) = (1, 2);
        int sumBytes = paddedRows * (warps + 1) * sizeof(float), resident = perMultiprocessor * device.Multiprocessors;
        // A few rows of sums beside an even share. Where these do not fit, shares are smaller, and not all CTAs are resident.
        int mostShare = ((device.SharedBytesPerBlock - (paddedRows * warps * sizeof(float))) / sumBytes) - RoundedRows, rounds = (logical + (resident * mostShare) - 1) / (resident * mostShare);
        int grid = Math.Min(rounds * resident, size.Outputs);
        int unroll = Unroll(vectors, paddedRows, Math.Min((logical + (grid * groups) - 1) / (grid * groups), share < ManyRows ? 4 : 8));
        KernelConstants constants = RowProductArguments.Constants(output, input, weights, activation, gated, accumulate, second) with { Rows = paddedRows, Shape = (warps, vectors, groups, unroll) };
        // Shared memory beyond need keeps the next kernel's CTAs from piling up on the multiprocessors that are free first.
        int sharedBytes = Math.Max(((logical / grid) + RoundedRows) * sumBytes, device.SharedBytesPerBlock / (perMultiprocessor + 1) + 2048);
        kernels.Get("gemv", "gemv", constants).Launch(new RowProductArguments(output, input, weights, second, input.Norm?.Epsilon ?? 0), (grid, 1, 1), warps * groups * 32, sharedBytes);
    }

    // A power of two of sums a lane, at most 32, and no more rows than a group of warps has.
    private static int Unroll(int vectors, int rows, int rowsOfGroup)
    {
        int unroll = rows == 1 && vectors > 4 ? 2 : 1;
        while (unroll < rowsOfGroup && 2 * unroll * vectors <= LoadsInFlight && 2 * unroll * rows <= 32 && (rows < MaxRows || unroll < 2)) unroll *= 2;
        return unroll;
    }

    // Warps across the columns and vectors a lane: least waste first, then eight warps with two vectors each.
    private (int Warps, int Vectors) SplitOf(int columns, int rows)
    {
        int key = (columns * 2) + (rows > 2 ? 1 : 0);
        if (_splits.TryGetValue(key, out (int Warps, int Vectors) split)) return split;
        int pieces = (columns + ColumnsPerVector - 1) / ColumnsPerVector, most = rows > 2 ? 4 : 8, bestCost = int.MaxValue;
        for (int vectors = 1; vectors <= most; vectors++)
        {
            int warps = (pieces + vectors - 1) / vectors;
            if (warps > MaxWarps) continue;
            int waste = (warps * vectors) - pieces, cost = (waste * 64 / pieces * 4) + Math.Abs(warps - WarpsWanted) + (vectors == 2 ? 0 : vectors == 4 ? 1 : 3);
            if (cost < bestCost) (bestCost, split) = (cost, (warps, vectors));
        }
        return _splits[key] = split;
    }
}
