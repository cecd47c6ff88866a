using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>Norms, rotates and scales the queries and keys of each row in place, then writes keys and values to the cache.</summary>
internal readonly unsafe struct StoreKvWork<TSimd, TVector>(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch) : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly float* _qkv = (float*)qkv.Data;
    private readonly int _heads = attention.Heads, _kvHeads = attention.KvHeads, _headDim = attention.HeadDim, _columns = attention.QkvColumns;
    private readonly KvBlocks<TSimd, TVector> _cache = new(cache);
    private readonly RowNorm<TSimd, TVector> _queryNorm = new(attention.QueryNorm), _keyNorm = new(attention.KeyNorm);
    private readonly float* _rotary = attention.Rotary is { } table ? (float*)table.Data : null;
    private readonly int _rotaryColumns = attention.Rotary?.Columns ?? 0;
    private readonly float* _queryScales = attention.QueryScales is { } scales ? (float*)scales.Data : null;
    private readonly BatchPointers _batch = new(batch);

    // Consecutive rows, since neighbouring tokens share cache lines of the keys.
    public void Run(int worker, int workers)
    {
        (int start, int end) = Share.Of(_batch.Rows, worker, workers);
        for (int row = start; row < end; row++) Store(row);
    }

    private void Store(int row)
    {
        float* values = _qkv + ((long)row * _columns);
        int position = _batch.Positions[row];
        float* turns = _rotary + ((long)(position + _batch.RotaryBases[_batch.RowSequences[row]]) * _rotaryColumns);
        for (int head = 0; head < _heads + _kvHeads; head++)
        {
            float* vector = values + (head * _headDim);
            bool isQuery = head < _heads;
            (isQuery ? _queryNorm : _keyNorm).Apply(vector, vector, _headDim);
            if (_rotary != null) Rotate(vector, turns, _rotaryColumns / 2);
            if (isQuery && _queryScales != null) Scale(vector, _queryScales[position]);
        }
        float* keys = values + (_heads * _headDim), cached = keys + (_kvHeads * _headDim);
        for (int head = 0; head < _kvHeads; head++) _cache.Store(_batch.KvSlots[row], head, keys + (head * _headDim), cached + (head * _headDim));
    }

    // Dimension i turns with i + half; turns holds the cosines of the first half, then the sines.
    private static void Rotate(float* vector, float* turns, int half)
    {
        float* other = vector + half, sines = turns + half;
        int i = 0;
        for (; i <= half - TSimd.Lanes; i += TSimd.Lanes)
        {
            TVector x = TSimd.Load(vector + i), y = TSimd.Load(other + i), cos = TSimd.Load(turns + i), sin = TSimd.Load(sines + i);
            TSimd.Store(vector + i, TSimd.Subtract(TSimd.Multiply(x, cos), TSimd.Multiply(y, sin)));
            TSimd.Store(other + i, TSimd.Add(TSimd.Multiply(y, cos), TSimd.Multiply(x, sin)));
        }
        for (; i < half; i++) (vector[i], other[i]) = ((vector[i] * turns[i]) - (other[i] * sines[i]), (other[i] * turns[i]) + (vector[i] * sines[i]));
    }

    private void Scale(float* vector, float factor)
    {
        for (int i = 0; i < _headDim; i++) vector[i] *= factor;
    }
}
