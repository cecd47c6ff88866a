using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>The sums of a gate and an up projection, joined as activation(gate) ⊙ up.</summary>
internal static unsafe class GatedProduct<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    /// <summary>Outputs to do together: half a group, since each takes two sums.</summary>
    public static int GroupOf(int tiles) => Math.Max(Product<TSimd, TVector>.GroupOf(tiles) / 2 / PackedWeights<TSimd, TVector>.PanelRows, 1) * PackedWeights<TSimd, TVector>.PanelRows;

    /// <summary>Computes outputs from <paramref name="first"/> on for some tiles.</summary>
    /// <param name="rows">First operand.</param>
    /// <param name="tile">First of its tiles.</param>
    /// <param name="tiles">Number of tiles.</param>
    /// <param name="weights">Gate rows from <paramref name="gateRow"/> on, up rows from <paramref name="upRow"/> on.</param>
    /// <param name="gateRow">Row of the gate of output 0.</param>
    /// <param name="upRow">Row of the up projection of output 0.</param>
    /// <param name="bias">Added by row of the weights; null for none.</param>
    /// <param name="activation">Function on the gate.</param>
    /// <param name="first">First output.</param>
    /// <param name="count">Number of outputs.</param>
    /// <param name="output">Row 0 of the output.</param>
    /// <param name="columns">Floats from one row of the output to the next.</param>
    /// <param name="scratch"><see cref="Product{TSimd, TVector}.ScratchLength"/> floats.</param>
    public static void Compute(
        PackedRows<TSimd, TVector> rows, int tile, int tiles, PackedWeights<TSimd, TVector> weights, int gateRow, int upRow, float* bias, Activation activation,
        int first, int count, float* output, int columns, float* scratch)
    {
        int panelRows = PackedWeights<TSimd, TVector>.PanelRows;
        float* gates = Product<TSimd, TVector>.Compute(rows, tile, tiles, weights, gateRow + first, count, scratch);
        float* ups = Product<TSimd, TVector>.Compute(rows, tile, tiles, weights, upRow + first, count, scratch, sumOffset: GroupOf(tiles) + panelRows);
        int firstRow = tile * TSimd.TileRows, endRow = Math.Min(firstRow + (tiles * TSimd.TileRows), rows.Rows);
        float* gateBias = bias == null ? null : bias + gateRow + first, upBias = bias == null ? null : bias + upRow + first;
        for (int row = firstRow; row < endRow; row++)
        {
            long sum = (long)(row - firstRow) * Product<TSimd, TVector>.SumStride;
            Join(gates + sum, ups + sum, gateBias, upBias, activation, output + ((long)row * columns) + first, count);
        }
    }

    private static void Join(float* gates, float* ups, float* gateBias, float* upBias, Activation activation, float* target, int count)
    {
        int i = 0;
        for (; i <= count - TSimd.Lanes; i += TSimd.Lanes) TSimd.Store(target + i, Value(gates, ups, gateBias, upBias, activation, i));
        if (i == count) return;
        float* last = stackalloc float[TSimd.Lanes];
        TSimd.Store(last, Value(gates, ups, gateBias, upBias, activation, i));
        for (int lane = 0; i < count; i++, lane++) target[i] = last[lane];
    }

    private static TVector Value(float* gates, float* ups, float* gateBias, float* upBias, Activation activation, int i)
    {
        TVector gate = TSimd.Load(gates + i), up = TSimd.Load(ups + i);
        if (gateBias != null)
        {
            gate = TSimd.Add(gate, TSimd.Load(gateBias + i));
            up = TSimd.Add(up, TSimd.Load(upBias + i));
        }
        return TSimd.Multiply(VectorMath<TSimd, TVector>.Activate(activation, gate), up);
    }
}

/// <summary>output = activation(gate) ⊙ up of one matrix that stacks the gate's rows over the up projection's.</summary>
internal readonly unsafe struct GatedLinearWork<TSimd, TVector>(PackedRows<TSimd, TVector> rows, PackedWeights<TSimd, TVector> weights, float* bias, Activation activation, Tensor output, WorkerScratch scratch) : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly PackedRows<TSimd, TVector> _rows = rows;
    private readonly PackedWeights<TSimd, TVector> _weights = weights;
    private readonly float* _bias = bias;
    private readonly Activation _activation = activation;
    private readonly float* _output = (float*)output.Data;
    private readonly int _columns = output.Columns;
    private readonly WorkerScratch _scratch = scratch;

    public void Run(int worker, int workers)
    {
        int panelRows = PackedWeights<TSimd, TVector>.PanelRows;
        Share share = Share.OfGrid(PackedWeights<TSimd, TVector>.Panels(_columns), _rows.Tiles, worker, workers);
        int endOutput = Math.Min(share.EndPanel * panelRows, _columns);
        for (int tile = share.FirstTile; tile < share.EndTile; tile += Product<TSimd, TVector>.BlockTiles)
        {
            int tiles = Math.Min(Product<TSimd, TVector>.BlockTiles, share.EndTile - tile), group = GatedProduct<TSimd, TVector>.GroupOf(tiles);
            for (int first = share.FirstPanel * panelRows; first < endOutput; first += group)
            {
                int count = Math.Min(group, endOutput - first);
                GatedProduct<TSimd, TVector>.Compute(_rows, tile, tiles, _weights, 0, _columns, _bias, _activation, first, count, _output, _columns, _scratch.Of(worker));
            }
        }
    }
}
