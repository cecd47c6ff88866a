using System.Numerics;
using System.Numerics.Tensors;

namespace FastGen.Kernels;

/// <summary>Log probabilities of a row of logits: of the drawn token and of the most likely ones.</summary>
internal static class LogSoftmax
{
    private const int SumBlock = 256;

    /// <summary>Fills <paramref name="target"/>: the drawn token, then as many of the most likely as there is room for, lower ids first among equals.</summary>
    public static void Fill(ReadOnlySpan<float> logits, int drawn, Span<TokenLogProbability> target)
    {
        float largest = TensorPrimitives.Max(logits);
        double normalizer = largest + Math.Log(SumOfExponentials(logits, largest));
        target[0] = new TokenLogProbability(drawn, logits[drawn]);
        if (target.Length > 1) SelectTop(logits, target[1..]);
        foreach (ref TokenLogProbability entry in target) entry = entry with { LogProbability = (float)(entry.LogProbability - normalizer) };
    }

    private static double SumOfExponentials(ReadOnlySpan<float> logits, float largest)
    {
        Span<float> block = stackalloc float[SumBlock];
        double sum = 0;
        for (int start = 0; start < logits.Length; start += SumBlock)
        {
            Span<float> weights = block[..Math.Min(SumBlock, logits.Length - start)];
            TensorPrimitives.Subtract(logits.Slice(start, weights.Length), largest, weights);
            TensorPrimitives.Exp<float>(weights, weights);
            sum += TensorPrimitives.Sum<float>(weights);
        }
        return sum;
    }

    // One pass: ids ascend, so a later token goes ahead of an earlier one only where its logit is larger.
    private static void SelectTop(ReadOnlySpan<float> logits, Span<TokenLogProbability> top)
    {
        int count = 0;
        for (int i = 0; i < logits.Length; i++)
        {
            if (count == top.Length)
            {
                i = NextAbove(logits, i, top[^1].LogProbability);
                if (i == logits.Length) return;
                count--;
            }
            int place = count++;
            for (; place > 0 && top[place - 1].LogProbability < logits[i]; place--) top[place] = top[place - 1];
            top[place] = new TokenLogProbability(i, logits[i]);
        }
    }

    private static int NextAbove(ReadOnlySpan<float> logits, int from, float bound)
    {
        Vector<float> bounds = new(bound);
        int i = from;
        while (i <= logits.Length - Vector<float>.Count && !Vector.GreaterThanAny(new Vector<float>(logits[i..]), bounds)) i += Vector<float>.Count;
        while (i < logits.Length && !(logits[i] > bound)) i++;
        return i;
    }
}
