using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using FastGen.Compute;

namespace FastGen.Kernels;

/// <summary>
/// Sampling without sorting the vocabulary, in the order and by the rules of Hugging Face transformers: tokens near the most likely one
/// are gathered and sorted, and more of them only where these do not decide. Serves one thread; draws allocate nothing.
/// </summary>
internal sealed class Sampler(int vocabularySize)
{
    // How far below the largest value the first gathering reaches, and how much farther each next one does.
    private const float FirstReach = 1, ReachFactor = 2;
    private const int SumBlock = 256;

    private readonly float[] _values = new float[vocabularySize];
    private readonly float[] _weights = new float[vocabularySize];
    private readonly int[] _tokens = new int[vocabularySize];
    private readonly ulong[] _ascending = new ulong[vocabularySize];
    private readonly double[] _blockSums = new double[(vocabularySize + SumBlock - 1) / SumBlock];

    /// <summary>
    /// Draws one id; −1 where the row holds NaN, +∞ or nothing finite. A uniform number chooses by inverse transform over the kept
    /// tokens in ascending order of their ids.
    /// </summary>
    public int Draw(ReadOnlySpan<float> logits, in SlotSampling sampling, PenaltyCounts? penalties, ReadOnlySpan<int> suppressed, int position)
    {
        if (penalties is not null || suppressed.Length > 0)
        {
            logits.CopyTo(_values);
            penalties?.Apply(_values, sampling);
            foreach (int token in suppressed) _values[token] = float.NegativeInfinity;
            logits = _values;
        }
        int best = TensorPrimitives.IndexOfMax(logits);
        if (!float.IsFinite(logits[best])) return -1;
        if (sampling.Temperature == 0 || !float.IsFinite(logits[best] / sampling.Temperature)) return best;
        TensorPrimitives.Divide(logits, sampling.Temperature, _values);
        float largest = _values[best];
        double uniform = Philox.Uniform(sampling.Seed, position);
        if (sampling.TopK == 0 && sampling.TopP >= 1 && sampling.MinP <= 0) return ChooseFromAll(uniform, WeighAll(largest));
        return Choose(uniform, Keep(largest, sampling));
    }

    /// <summary>Turns logits into the probabilities that a draw follows; dropped tokens get 0.</summary>
    public void Probabilities(Span<float> logits, in SlotSampling sampling)
    {
        TensorPrimitives.Divide(logits, sampling.Temperature, _values);
        int kept = Keep(TensorPrimitives.Max<float>(_values), sampling);
        double sum = 0;
        foreach (float weight in _weights.AsSpan(0, kept)) sum += weight;
        logits.Clear();
        for (int i = 0; i < kept; i++) logits[_tokens[i]] = (float)(_weights[i] / sum);
    }

    // Leaves the kept tokens, ids ascending, in _tokens and their weights e^(value − largest) in _weights; gives their number.
    private int Keep(float largest, in SlotSampling sampling)
    {
        int count = GatherDeciding(largest, sampling, out double total);
        ReadOnlySpan<ulong> ascending = _ascending.AsSpan(0, count);
        int first = sampling.TopK > 0 && sampling.TopK < count ? FirstOfTopK(ascending, sampling.TopK) : 0;
        if (sampling.TopP < 1)
        {
            if (sampling.TopK > 0) total = SumFrom(ascending[first..], largest);
            first = FirstOfTopP(ascending, first, largest, total, sampling.TopP);
        }
        int kept = 0;
        for (int i = first; i < count; i++)
        {
            float weight = Weight(ascending[i], largest);
            if (weight < sampling.MinP && i < count - 1) continue;
            (_tokens[kept], _weights[kept]) = (Token(ascending[i]), weight);
            kept++;
        }
        MemoryExtensions.Sort(_tokens.AsSpan(0, kept), _weights.AsSpan(0, kept));
        return kept;
    }

    // Gathers a set of most likely tokens that holds all that may be kept, sorted by value and, among equals, by id.
    private int GatherDeciding(float largest, in SlotSampling sampling, out double total)
    {
        bool byMass = sampling.TopK == 0 && sampling.TopP < 1;
        total = byMass ? WeighAll(largest) : 0;
        if (sampling.TopK == 0 && !byMass) return Sorted(Gather(sampling.MinP > 0 ? largest + MathF.Log(sampling.MinP) - 1 : float.MinValue));
        for (float reach = FirstReach; ; reach *= ReachFactor)
        {
            float lowest = Math.Max(largest - reach, float.MinValue);
            int count = Gather(lowest);
            bool decides = byMass ? SumFrom(_ascending.AsSpan(0, count), largest) > sampling.TopP * total : count >= sampling.TopK;
            if (decides || lowest == float.MinValue || count == _values.Length) return Sorted(count);
        }
    }

    // Keeps ties with the k-th.
    private int FirstOfTopK(ReadOnlySpan<ulong> ascending, int topK)
    {
        int first = ascending.Length - topK;
        float smallest = _values[Token(ascending[first])];
        while (first > 0 && _values[Token(ascending[first - 1])] == smallest) first--;
        return first;
    }

    // Drops tokens from below while what they hold together is at most 1 − p; the most likely always stays.
    private int FirstOfTopP(ReadOnlySpan<ulong> ascending, int first, float largest, double total, float topP)
    {
        double above = Weight(ascending[^1], largest);
        for (int i = ascending.Length - 2; i >= first; i--)
        {
            if ((float)(1 - (above / total)) <= 1 - topP) return i + 1;
            above += Weight(ascending[i], largest);
        }
        return first;
    }

    private int Gather(float lowest)
    {
        Vector<float> limits = new(lowest);
        int count = 0, i = 0;
        for (; i <= _values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            if (!Vector.GreaterThanOrEqualAny(new Vector<float>(_values, i), limits)) continue;
            for (int lane = i; lane < i + Vector<float>.Count; lane++)
            {
                if (_values[lane] >= lowest) _ascending[count++] = SortKey(lane);
            }
        }
        for (; i < _values.Length; i++)
        {
            if (_values[i] >= lowest) _ascending[count++] = SortKey(i);
        }
        return count;
    }

    private int Sorted(int count)
    {
        MemoryExtensions.Sort(_ascending.AsSpan(0, count));
        return count;
    }

    // Integers that sort as the values do, lower ids first among equals.
    private ulong SortKey(int token)
    {
        // Adding zero makes −0 equal to 0.
        uint bits = BitConverter.SingleToUInt32Bits(_values[token] + 0f);
        bits ^= (uint)((int)bits >> 31) | 0x80000000;
        return ((ulong)bits << 32) | (uint)token;
    }

    private static int Token(ulong sortKey) => (int)(uint)sortKey;

    private float Weight(ulong sortKey, float largest) => MathF.Exp(_values[Token(sortKey)] - largest);

    private double SumFrom(ReadOnlySpan<ulong> sortKeys, float largest)
    {
        double sum = 0;
        foreach (ulong sortKey in sortKeys) sum += Weight(sortKey, largest);
        return sum;
    }

    // Leaves the weights of all tokens in _weights and their sums by blocks; gives the sum of all.
    private double WeighAll(float largest)
    {
        TensorPrimitives.Subtract(_values, largest, _weights);
        TensorPrimitives.Exp<float>(_weights, _weights);
        double total = 0;
        for (int block = 0; block < _blockSums.Length; block++)
        {
            int start = block * SumBlock;
            _blockSums[block] = Sum(_weights.AsSpan(start, Math.Min(SumBlock, _weights.Length - start)));
            total += _blockSums[block];
        }
        return total;
    }

    private static double Sum(ReadOnlySpan<float> weights)
    {
        Vector256<double> lower = default, upper = default;
        ReadOnlySpan<Vector256<float>> vectors = MemoryMarshal.Cast<float, Vector256<float>>(weights);
        foreach (Vector256<float> vector in vectors)
        {
            lower += Vector256.WidenLower(vector);
            upper += Vector256.WidenUpper(vector);
        }
        double sum = Vector256.Sum(lower + upper);
        foreach (float weight in weights[(vectors.Length * Vector256<float>.Count)..]) sum += weight;
        return sum;
    }

    private int ChooseFromAll(double uniform, double total)
    {
        double target = uniform * total, before = 0;
        int block = 0;
        while (block < _blockSums.Length - 1 && before + _blockSums[block] <= target) before += _blockSums[block++];
        int last = -1;
        for (int i = block * SumBlock; i < _weights.Length; i++)
        {
            if (_weights[i] == 0) continue;
            last = i;
            before += _weights[i];
            if (before > target) return i;
        }
        return last >= 0 ? last : Array.FindLastIndex(_weights, weight => weight > 0);
    }

    private int Choose(double uniform, int kept)
    {
        double total = 0, cumulative = 0;
        foreach (float weight in _weights.AsSpan(0, kept)) total += weight;
        for (int i = 0; i < kept; i++)
        {
            cumulative += _weights[i];
            if (cumulative > uniform * total) return _tokens[i];
        }
        return _tokens[kept - 1];
    }
}
