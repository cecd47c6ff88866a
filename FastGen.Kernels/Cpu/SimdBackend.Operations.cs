using System.Runtime.CompilerServices;
using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

// The operations: each becomes one or more pieces of parallel work.
internal sealed unsafe partial class SimdBackend<TSimd, TVector>
{
    private readonly ExpertRouting _routing = new();
    private readonly Scratch _normed = new(), _gates = new(), _expertRows = new(), _expertResults = new();

    public void Embed(Tensor output, Tensor table, RaggedBatch batch)
    {
        for (int row = 0; row < batch.TokenCount; row++)
        {
            int token = Slots.Resolve(batch.Tokens[row]);
            if ((uint)token >= (uint)table.Rows) throw new ArgumentOutOfRangeException(nameof(batch), token, $"Row {row} holds token {token}; the table has {table.Rows} rows.");
            _tokens[row] = token;
        }
        // Each value read from a packed table is a cache line of its own.
        const int LineCost = 16;
        Run(new EmbedWork<TSimd, TVector>(output, new PackedWeights<TSimd, TVector>(table), Pointer(_tokens)), Elements(output) * LineCost);
    }

    public void AddPositions(Tensor output, Tensor table, int offset, RaggedBatch batch) => Run(new AddPositionsWork(output, table, offset, batch, WorkerScratch.Take(_rows, _pool.Workers, table.Columns)), Elements(output));

    public void Norm(Tensor output, Tensor input, NormWeights weights) => Run(new NormWork<TSimd, TVector>((float*)output.Data, input, new RowNorm<TSimd, TVector>(weights)), Elements(input));

    public void Linear(Tensor output, in LinearInput input, LinearWeights weights, Activation activation = Activation.None, bool accumulate = false) => Multiply(Pack(input), weights.Weight, new LinearOutput<TSimd, TVector>(output, weights.Bias, activation, accumulate));

    public void GatedLinear(Tensor output, in LinearInput input, LinearWeights gateUp, Activation activation)
    {
        PackedRows<TSimd, TVector> rows = Pack(input);
        float* bias = gateUp.Bias is { } vector ? (float*)vector.Data : null;
        Run(new GatedLinearWork<TSimd, TVector>(rows, new PackedWeights<TSimd, TVector>(gateUp.Weight), bias, activation, output, SumScratch()), (long)rows.Rows * rows.Columns * gateUp.Outputs);
    }

    public void StoreKv(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        // Scattered stores of keys cost more than a multiplication.
        const int StoreCost = 4;
        Run(new StoreKvWork<TSimd, TVector>(qkv, cache, attention, batch), Elements(qkv) * StoreCost);
    }

    public void Attention(Tensor output, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        int* blockTables = (int*)Unsafe.AsPointer(ref Slots.BlockTables);
        long multiplications = 0;
        foreach (int length in batch.ContextLengths) multiplications += 2L * length * attention.QueryColumns;
        Run(new AttentionWork<TSimd, TVector>(output, qkv, cache, attention, batch, blockTables, Slots.BlocksPerSequence, _sums, _pool.Workers), multiplications);
    }

    public void MixtureOfExperts(Tensor output, in LinearInput input, ExpertWeights weights)
    {
        int rows = input.Rows.Rows, model = input.Rows.Columns, hidden = weights.Down.Columns;
        // 1. Norm once: the router and several experts read each row.
        float* normed = _normed.Floats((long)rows * model);
        Run(new NormWork<TSimd, TVector>(normed, input.Rows, new RowNorm<TSimd, TVector>(input.Norm)), (long)rows * model);
        Tensor normedRows = new((nint)normed, DType.F32, rows, model);

        // 2. Route.
        Tensor routes = new((nint)_gates.Floats((long)rows * weights.Experts), DType.F32, rows, weights.Experts);
        Multiply(Pack(new LinearInput(normedRows)), weights.Router.Weight, new LinearOutput<TSimd, TVector>(routes, weights.Router.Bias, Activation.None, accumulate: false));
        _routing.Route(new Span<float>((void*)routes.Data, rows * weights.Experts), rows, weights);
        ExpertVisits visits = new(_routing, weights.Experts);

        // 3. Both products of all experts, over visits sorted by expert.
        Tensor gated = new((nint)_expertRows.Floats((long)visits.Visits * hidden), DType.F32, visits.Visits, hidden);
        MultiplyExperts(gated, visits, normed, gather: true, weights.GateUp, weights.Activation);
        Tensor results = new((nint)_expertResults.Floats((long)visits.Visits * model), DType.F32, visits.Visits, model);
        MultiplyExperts(results, visits, (float*)gated.Data, gather: false, weights.Down, Activation.None);

        // 4. Each row gathers what its visits gave.
        Run(new ExpertSumWork<TSimd, TVector>(visits, weights.TopK, (float*)results.Data, output), (long)visits.Visits * model);
    }

    public void AddGated(Tensor output, in LinearInput input, LinearWeights gate, Tensor rows, LinearWeights down)
    {
        Tensor gates = new((nint)_gates.Floats(output.Rows), DType.F32, output.Rows, 1);
        Multiply(Pack(input), gate.Weight, new LinearOutput<TSimd, TVector>(gates, gate.Bias, Activation.None, accumulate: false));
        Span<float> shares = new((void*)gates.Data, output.Rows);
        foreach (ref float share in shares) share = 1 / (1 + MathF.Exp(-share));
        Multiply(Pack(new LinearInput(rows)), down.Weight, new LinearOutput<TSimd, TVector>(output, down.Bias, Activation.None, accumulate: true, (float*)gates.Data));
    }

    public void SelectRows(Tensor output, Tensor input, RaggedBatch batch)
    {
        for (int i = 0; i < batch.LogitRowCount; i++)
        {
            float* source = (float*)input.Data + ((long)batch.LogitRows[i] * input.Columns);
            new ReadOnlySpan<float>(source, input.Columns).CopyTo(new Span<float>((float*)output.Data + ((long)i * output.Columns), output.Columns));
        }
    }

    private void MultiplyExperts(Tensor output, ExpertVisits visits, float* source, bool gather, Tensor weight, Activation activation)
    {
        float* packed = _packedRows.Floats(visits.PackedLength<TSimd, TVector>(weight.Columns));
        Run(new ExpertPackWork<TSimd, TVector>(visits, source, gather, weight.Columns, packed), (long)visits.Visits * weight.Columns);
        Run(new ExpertProductWork<TSimd, TVector>(visits, packed, new PackedWeights<TSimd, TVector>(weight), gated: gather, activation, output, SumScratch()), Elements(output) * weight.Columns);
    }

    private void Multiply(PackedRows<TSimd, TVector> rows, Tensor weight, LinearOutput<TSimd, TVector> output) => Run(new LinearWork<TSimd, TVector>(rows, new PackedWeights<TSimd, TVector>(weight), output, SumScratch()), (long)rows.Rows * rows.Columns * weight.Rows);

    // Copies the rows, normed, so that a product may write over its input.
    private PackedRows<TSimd, TVector> Pack(in LinearInput input)
    {
        (int rows, int columns) = (input.Rows.Rows, input.Rows.Columns);
        PackedRows<TSimd, TVector> packed = new(_packedRows.Floats(PackedRows<TSimd, TVector>.Length(rows, columns)), rows, columns);
        WorkerScratch scratch = WorkerScratch.Take(_rows, _pool.Workers, columns);
        Run(new PackWork<TSimd, TVector>((float*)input.Rows.Data, new RowNorm<TSimd, TVector>(input.Norm), packed, scratch), packed.Tiles == 1 ? 0 : Elements(input.Rows));
        return packed;
    }

    private WorkerScratch SumScratch() => WorkerScratch.Take(_sums, _pool.Workers, Product<TSimd, TVector>.ScratchLength);

    private static long Elements(Tensor tensor) => (long)tensor.Rows * tensor.Columns;
}
