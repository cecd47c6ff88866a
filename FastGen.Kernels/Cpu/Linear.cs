using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>Norms the rows of a product's first operand and packs them, tile by tile.</summary>
internal readonly unsafe struct PackWork<TSimd, TVector>(float* source, RowNorm<TSimd, TVector> norm, PackedRows<TSimd, TVector> packed, WorkerScratch scratch) : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly float* _source = source;
    private readonly RowNorm<TSimd, TVector> _norm = norm;
    private readonly PackedRows<TSimd, TVector> _packed = packed;
    private readonly WorkerScratch _scratch = scratch;

    public void Run(int worker, int workers)
    {
        (int start, int end) = Share.Of(_packed.Tiles, worker, workers);
        for (int tile = start; tile < end; tile++)
        {
            int first = tile * TSimd.TileRows, rows = _packed.RowsOf(tile);
            float* normed = _packed.HeightOf(tile) == 1 ? _packed.At(tile, 0) : _scratch.Of(worker);
            for (int row = first; row < first + rows; row++)
            {
                _norm.Apply(_source + ((long)row * _packed.Columns), normed, _packed.Columns);
                _packed.SetRow(row, normed);
            }
            _packed.ClearPadding(tile);
        }
    }
}

/// <summary>What happens to the sums of a product on their way to its output.</summary>
internal readonly unsafe struct LinearOutput<TSimd, TVector>(Tensor output, Tensor? bias, Activation activation, bool accumulate, float* rowFactors = null)
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly float* _output = (float*)output.Data;
    private readonly int _columns = output.Columns;
    private readonly float* _bias = bias is { } vector ? (float*)vector.Data : null;
    private readonly Activation _activation = activation;
    private readonly bool _accumulate = accumulate;
    private readonly float* _rowFactors = rowFactors;

    /// <summary>Stores outputs from <paramref name="first"/> on of one row.</summary>
    public void Store(float* sums, int row, int first, int count)
    {
        float* target = _output + ((long)row * _columns) + first;
        int i = 0;
        for (; i <= count - TSimd.Lanes; i += TSimd.Lanes) TSimd.Store(target + i, Value(sums, target, row, first, i));
        if (i == count) return;
        float* last = stackalloc float[TSimd.Lanes];
        TSimd.Store(last, Value(sums, target, row, first, i));
        for (int lane = 0; i < count; i++, lane++) target[i] = last[lane];
    }

    private TVector Value(float* sums, float* target, int row, int first, int i)
    {
        TVector value = TSimd.Load(sums + i);
        if (_bias != null) value = TSimd.Add(value, TSimd.Load(_bias + first + i));
        if (_activation != Activation.None) value = VectorMath<TSimd, TVector>.Activate(_activation, value);
        if (_rowFactors != null) value = TSimd.Multiply(value, TSimd.Broadcast(_rowFactors[row]));
        return _accumulate ? TSimd.Add(TSimd.Load(target + i), value) : value;
    }
}

/// <summary>output = packed rows · weightᵀ, with what <see cref="LinearOutput{TSimd, TVector}"/> adds.</summary>
internal readonly unsafe struct LinearWork<TSimd, TVector>(PackedRows<TSimd, TVector> rows, PackedWeights<TSimd, TVector> weights, LinearOutput<TSimd, TVector> output, WorkerScratch scratch) : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly PackedRows<TSimd, TVector> _rows = rows;
    private readonly PackedWeights<TSimd, TVector> _weights = weights;
    private readonly LinearOutput<TSimd, TVector> _output = output;
    private readonly WorkerScratch _scratch = scratch;

    public void Run(int worker, int workers)
    {
        Share share = Share.OfGrid(PackedWeights<TSimd, TVector>.Panels(_weights.Rows), _rows.Tiles, worker, workers);
        int firstOutput = share.FirstPanel * PackedWeights<TSimd, TVector>.PanelRows;
        int endOutput = Math.Min(share.EndPanel * PackedWeights<TSimd, TVector>.PanelRows, _weights.Rows);
        for (int tile = share.FirstTile; tile < share.EndTile; tile += Product<TSimd, TVector>.BlockTiles)
        {
            int tiles = Math.Min(Product<TSimd, TVector>.BlockTiles, share.EndTile - tile), group = Product<TSimd, TVector>.GroupOf(tiles);
            for (int output = firstOutput; output < endOutput; output += group)
            {
                Compute(_rows, tile, tiles, _weights, 0, output, Math.Min(group, endOutput - output), _output, _scratch.Of(worker));
            }
        }
    }

    /// <summary>Outputs from <paramref name="first"/> on for some tiles; the weights of output 0 are in <paramref name="weightRow"/>.</summary>
    public static void Compute(
        PackedRows<TSimd, TVector> rows, int tile, int tiles, PackedWeights<TSimd, TVector> weights, int weightRow,
        int first, int count, LinearOutput<TSimd, TVector> output, float* scratch)
    {
        float* sums = Product<TSimd, TVector>.Compute(rows, tile, tiles, weights, weightRow + first, count, scratch);
        int firstRow = tile * TSimd.TileRows, endRow = Math.Min(firstRow + (tiles * TSimd.TileRows), rows.Rows);
        for (int row = firstRow; row < endRow; row++) output.Store(sums + ((long)(row - firstRow) * Product<TSimd, TVector>.SumStride), row, first, count);
    }
}
