using System.Numerics.Tensors;
using FastGen.Compute;
using Tensor = FastGen.Compute.Tensor;

namespace FastGen.Kernels.Cpu;

/// <summary>output[i] = the row of a packed table that token i names.</summary>
internal readonly unsafe struct EmbedWork<TSimd, TVector>(Tensor output, PackedWeights<TSimd, TVector> table, int* tokens) : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly float* _output = (float*)output.Data;
    private readonly int _rows = output.Rows;
    private readonly PackedWeights<TSimd, TVector> _table = table;
    private readonly int* _tokens = tokens;

    public void Run(int worker, int workers)
    {
        (int start, int end) = Share.Of(_rows, worker, workers);
        for (int row = start; row < end; row++) _table.ReadRow(_tokens[row], new Span<float>(_output + ((long)row * _table.Columns), _table.Columns));
    }
}

/// <summary>output[i] += table[position of row i + offset]</summary>
internal readonly unsafe struct AddPositionsWork(Tensor output, Tensor table, int offset, RaggedBatch batch, WorkerScratch scratch) : IParallelWork
{
    private readonly float* _output = (float*)output.Data;
    private readonly Tensor _table = table;
    private readonly int _offset = offset;
    private readonly BatchPointers _batch = new(batch);
    private readonly WorkerScratch _scratch = scratch;

    public void Run(int worker, int workers)
    {
        int columns = _table.Columns, bytes = columns * _table.Type.Size();
        Span<float> learned = new(_scratch.Of(worker), columns);
        (int start, int end) = Share.Of(_batch.Rows, worker, workers);
        for (int row = start; row < end; row++)
        {
            StoredValues.Widen(new ReadOnlySpan<byte>((byte*)_table.Data + ((long)(_batch.Positions[row] + _offset) * bytes), bytes), _table.Type, learned);
            Span<float> target = new(_output + ((long)row * columns), columns);
            TensorPrimitives.Add(target, learned, target);
        }
    }
}
