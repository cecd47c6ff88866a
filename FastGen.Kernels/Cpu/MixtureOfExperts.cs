using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>The visits of a batch as pointers, with the place of each expert's tiles.</summary>
internal readonly unsafe struct ExpertVisits(ExpertRouting routing, int experts)
{
    public readonly int* Starts = routing.Starts, Rows = routing.VisitRows, RowVisits = routing.RowVisits;
    public readonly float* Probabilities = routing.VisitProbabilities;
    public readonly int Experts = experts, Visits = routing.Visits;

    /// <summary>The packed rows of one expert: each expert's begin a tile later than the visits alone would need.</summary>
    public PackedRows<TSimd, TVector> PackedRowsOf<TSimd, TVector>(int expert, float* packed, int columns)
        where TSimd : struct, ISimd<TVector>
        where TVector : unmanaged
        => new(packed + (((long)Starts[expert] + ((long)expert * TSimd.TileRows)) * columns), Starts[expert + 1] - Starts[expert], columns);

    /// <summary>Floats that the packed rows of all experts take.</summary>
    public long PackedLength<TSimd, TVector>(int columns)
        where TSimd : struct, ISimd<TVector>
        where TVector : unmanaged
        => (Visits + ((long)(Experts + 1) * TSimd.TileRows)) * columns;
}

/// <summary>Packs for each expert the rows that visit it: gathered by visit, or already lying in the order of visits.</summary>
internal readonly unsafe struct ExpertPackWork<TSimd, TVector>(ExpertVisits visits, float* source, bool gather, int columns, float* packed) : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly ExpertVisits _visits = visits;
    private readonly float* _source = source, _packed = packed;
    private readonly bool _gather = gather;
    private readonly int _columns = columns;

    public void Run(int worker, int workers)
    {
        (int start, int end) = Share.Of(_visits.Visits, worker, workers);
        for (int expert = 0; expert < _visits.Experts; expert++)
        {
            int first = _visits.Starts[expert], last = _visits.Starts[expert + 1];
            if (first == last) continue;
            PackedRows<TSimd, TVector> rows = _visits.PackedRowsOf<TSimd, TVector>(expert, _packed, _columns);
            for (int visit = Math.Max(first, start); visit < Math.Min(last, end); visit++)
            {
                int row = _gather ? _visits.Rows[visit] : visit;
                rows.SetRow(visit - first, _source + ((long)row * _columns));
            }
            if (last > start && last <= end) rows.ClearPadding(rows.Tiles - 1);
        }
    }
}

/// <summary>
/// One of the two products of all experts: activation(gate) ⊙ up, or down. Outputs are split among the workers by cost, so that a worker may
/// begin within one expert and end within another.
/// </summary>
internal readonly unsafe struct ExpertProductWork<TSimd, TVector>(ExpertVisits visits, float* packed, PackedWeights<TSimd, TVector> weights, bool gated, Activation activation, Tensor output, WorkerScratch scratch) : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly ExpertVisits _visits = visits;
    private readonly float* _packed = packed;
    private readonly PackedWeights<TSimd, TVector> _weights = weights;
    private readonly bool _gated = gated;
    private readonly Activation _activation = activation;
    private readonly Tensor _output = output;
    private readonly WorkerScratch _scratch = scratch;

    public void Run(int worker, int workers)
    {
        int panels = PackedWeights<TSimd, TVector>.Panels(_output.Columns);
        long total = 0;
        for (int expert = 0; expert < _visits.Experts; expert++) total += (long)panels * RowsOf(expert).Tiles;
        (long start, long end) = (total * worker / workers, total * (worker + 1) / workers);
        for (int expert = 0; expert < _visits.Experts && end > 0; expert++)
        {
            PackedRows<TSimd, TVector> rows = RowsOf(expert);
            if (rows.Rows == 0) continue;
            int firstPanel = (int)Math.Clamp((start + rows.Tiles - 1) / rows.Tiles, 0, panels), endPanel = (int)Math.Clamp((end + rows.Tiles - 1) / rows.Tiles, 0, panels);
            if (firstPanel < endPanel) Compute(expert, rows, firstPanel * PackedWeights<TSimd, TVector>.PanelRows, Math.Min(endPanel * PackedWeights<TSimd, TVector>.PanelRows, _output.Columns), _scratch.Of(worker));
            start -= (long)panels * rows.Tiles;
            end -= (long)panels * rows.Tiles;
        }
    }

    private PackedRows<TSimd, TVector> RowsOf(int expert) => _visits.PackedRowsOf<TSimd, TVector>(expert, _packed, _weights.Columns);

    private void Compute(int expert, PackedRows<TSimd, TVector> rows, int firstOutput, int endOutput, float* scratch)
    {
        int columns = _output.Columns;
        Tensor target = new(_output.Data + ((nint)_visits.Starts[expert] * columns * sizeof(float)), DType.F32, rows.Rows, columns);
        for (int tile = 0; tile < rows.Tiles; tile += Product<TSimd, TVector>.BlockTiles)
        {
            int tiles = Math.Min(Product<TSimd, TVector>.BlockTiles, rows.Tiles - tile);
            int group = _gated ? GatedProduct<TSimd, TVector>.GroupOf(tiles) : Product<TSimd, TVector>.GroupOf(tiles);
            for (int first = firstOutput; first < endOutput; first += group)
            {
                int count = Math.Min(group, endOutput - first);
                if (_gated)
                {
                    int gateRow = expert * 2 * columns;
                    GatedProduct<TSimd, TVector>.Compute(rows, tile, tiles, _weights, gateRow, gateRow + columns, null, _activation, first, count, (float*)target.Data, columns, scratch);
                }
                else
                {
                    LinearWork<TSimd, TVector>.Compute(rows, tile, tiles, _weights, expert * columns, first, count, new LinearOutput<TSimd, TVector>(target, null, Activation.None, false), scratch);
                }
            }
        }
    }
}

/// <summary>output[i] += Σ over row i's visits, by ascending expert, of probability · result.</summary>
internal readonly unsafe struct ExpertSumWork<TSimd, TVector>(ExpertVisits visits, int topK, float* results, Tensor output) : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly ExpertVisits _visits = visits;
    private readonly int _topK = topK;
    private readonly float* _results = results;
    private readonly Tensor _output = output;

    public void Run(int worker, int workers)
    {
        int columns = _output.Columns;
        (int start, int end) = Share.Of(_output.Rows, worker, workers);
        for (int row = start; row < end; row++)
        {
            float* target = (float*)_output.Data + ((long)row * columns);
            for (int i = 0; i < _topK; i++)
            {
                int visit = _visits.RowVisits[(row * _topK) + i];
                Add(target, _results + ((long)visit * columns), _visits.Probabilities[visit], columns);
            }
        }
    }

    private static void Add(float* target, float* result, float probability, int columns)
    {
        TVector factor = TSimd.Broadcast(probability);
        int i = 0;
        for (; i <= columns - TSimd.Lanes; i += TSimd.Lanes) TSimd.Store(target + i, TSimd.Add(TSimd.Load(target + i), TSimd.Multiply(factor, TSimd.Load(result + i))));
        for (; i < columns; i++) target[i] += probability * result[i];
    }
}
