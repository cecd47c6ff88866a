using FastGen.Compute;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>What a product that added to rows x has left for the RMS norm that follows.</summary>
/// <param name="Norm">The norm.</param>
/// <param name="Scaled">γ ⊙ x, as operands of a product.</param>
/// <param name="Squares">Sums of the squares of x, F32 [parts, rows of the kernels' tile].</param>
/// <param name="Parts">How many each row has.</param>
internal sealed record HalfNorm(NormWeights Norm, Tensor Scaled, nint Squares, int Parts);

/// <summary>
/// RMS norms without a kernel of their own, between two products of few rows: W · norm(x) = (W · (γ ⊙ x)) / rms(x), so the product that adds up x leaves γ ⊙ x with the sums of
/// its squares, and the one that reads norm(x) divides its results. Which norm follows a product shows in the order of operations: it is done so from the second time on.
/// </summary>
internal sealed class DividedNorms(CudaDevice device, CudaScratch scratch)
{
    /// <summary>Rows and parts up to which norms are divided.</summary>
    public const int MostRows = 64, MostParts = 128;

    // F16 does not hold what is not normalized yet.
    private const DType Type = DType.BF16;

    private readonly Dictionary<nint, NormWeights> _following = [];
    private (Tensor Rows, nint Weights, HalfNorm? Left, long Launches) _last;

    /// <summary>Takes the buffers, so that none grows later.</summary>
    public void Prepare(int columns)
    {
        _ = scratch.Matrix(ScratchUse.HalfNormed, Type, MostRows, columns);
        _ = scratch.Get(ScratchUse.Squares, MostParts * MostRows * sizeof(float));
    }

    /// <summary>The first half of the norm of an input of a product with <paramref name="weight"/>, if the kernel queued last has left it.</summary>
    public HalfNorm? Take(in LinearInput input, Tensor weight)
    {
        if (weight.Type != Type || input.Norm is not { Kind: NormKind.Rms, Beta: null } norm || _last.Launches != device.LaunchCount || _last.Rows != input.Rows) return null;
        _following[_last.Weights] = norm;
        return _last.Left is { } left && left.Norm == norm ? left : null;
    }

    /// <summary>Where a product that adds to <paramref name="rows"/> is to leave a norm's first half; null if none is known to follow.</summary>
    /// <param name="rows">F32.</param>
    /// <param name="weight">The product's weights.</param>
    /// <param name="parts">Tiles that a row is computed in.</param>
    /// <param name="tileRows">Rows of a tile.</param>
    public HalfNorm? Place(Tensor rows, Tensor weight, int parts, int tileRows) =>
        weight.Type == Type && parts <= MostParts && tileRows <= MostRows && _following.TryGetValue(weight.Data, out NormWeights? norm) && norm.Gamma.Columns == rows.Columns
            ? new HalfNorm(norm, scratch.Matrix(ScratchUse.HalfNormed, Type, rows.Rows, rows.Columns), scratch.Get(ScratchUse.Squares, (long)parts * tileRows * sizeof(float)), parts)
            : null;

    /// <summary>After the launch of a product that adds to <paramref name="rows"/>.</summary>
    public void Launched(Tensor rows, Tensor weight, HalfNorm? left) => _last = (rows, weight.Data, left, device.LaunchCount);
}
