using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>A norm over the columns of one row. Its sums take the same order for every row.</summary>
internal readonly unsafe struct RowNorm<TSimd, TVector>(NormWeights? weights)
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly NormKind _kind = weights?.Kind ?? default;
    private readonly float* _gamma = weights is null ? null : (float*)weights.Gamma.Data;
    private readonly float* _beta = weights?.Beta is { } beta ? (float*)beta.Data : null;
    private readonly float _epsilon = weights?.Epsilon ?? 0;

    /// <summary>False where no norm is wanted.</summary>
    public bool Exists => _gamma != null;

    /// <summary>target = norm(source), or a copy where no norm is wanted; target may be the source.</summary>
    public void Apply(float* source, float* target, int columns)
    {
        if (!Exists)
        {
            if (target != source) new ReadOnlySpan<float>(source, columns).CopyTo(new Span<float>(target, columns));
            return;
        }
        float mean = _kind == NormKind.Layer ? Sum(source, columns) / columns : 0;
        float scale = 1 / MathF.Sqrt((SumOfSquares(source, mean, columns) / columns) + _epsilon);
        TVector means = TSimd.Broadcast(mean), scales = TSimd.Broadcast(scale);
        int i = 0;
        for (; i <= columns - TSimd.Lanes; i += TSimd.Lanes)
        {
            TVector value = TSimd.Multiply(TSimd.Subtract(TSimd.Load(source + i), means), scales);
            value = TSimd.Multiply(value, TSimd.Load(_gamma + i));
            TSimd.Store(target + i, _beta == null ? value : TSimd.Add(value, TSimd.Load(_beta + i)));
        }
        for (; i < columns; i++) target[i] = ((source[i] - mean) * scale * _gamma[i]) + (_beta == null ? 0 : _beta[i]);
    }

    private static float Sum(float* source, int columns)
    {
        TVector first = TSimd.Zero, second = TSimd.Zero;
        int i = 0;
        for (; i <= columns - (2 * TSimd.Lanes); i += 2 * TSimd.Lanes)
        {
            first = TSimd.Add(first, TSimd.Load(source + i));
            second = TSimd.Add(second, TSimd.Load(source + i + TSimd.Lanes));
        }
        float sum = TSimd.Sum(TSimd.Add(first, second));
        for (; i < columns; i++) sum += source[i];
        return sum;
    }

    private static float SumOfSquares(float* source, float mean, int columns)
    {
        TVector means = TSimd.Broadcast(mean), first = TSimd.Zero, second = TSimd.Zero;
        int i = 0;
        for (; i <= columns - (2 * TSimd.Lanes); i += 2 * TSimd.Lanes)
        {
            TVector left = TSimd.Subtract(TSimd.Load(source + i), means), right = TSimd.Subtract(TSimd.Load(source + i + TSimd.Lanes), means);
            first = TSimd.MultiplyAdd(left, left, first);
            second = TSimd.MultiplyAdd(right, right, second);
        }
        float sum = TSimd.Sum(TSimd.Add(first, second));
        for (; i < columns; i++) sum += (source[i] - mean) * (source[i] - mean);
        return sum;
    }
}

/// <summary>output[i] = norm(input[i])</summary>
internal readonly unsafe struct NormWork<TSimd, TVector>(float* output, Tensor input, RowNorm<TSimd, TVector> norm) : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly float* _output = output, _input = (float*)input.Data;
    private readonly int _rows = input.Rows, _columns = input.Columns;
    private readonly RowNorm<TSimd, TVector> _norm = norm;

    public void Run(int worker, int workers)
    {
        (int start, int end) = Share.Of(_rows, worker, workers);
        for (int row = start; row < end; row++) _norm.Apply(_input + ((long)row * _columns), _output + ((long)row * _columns), _columns);
    }
}
