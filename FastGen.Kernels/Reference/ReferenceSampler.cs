using FastGen.Compute;

namespace FastGen.Kernels.Reference;

/// <summary>Sampling by sorting the vocabulary: what the processors of Hugging Face transformers do, in their order.</summary>
internal static class ReferenceSampler
{
    /// <summary>Draws one id from a row of logits that the penalties have been applied to; −1 where the row holds NaN, +∞ or nothing finite.</summary>
    public static int Draw(Span<float> logits, in SlotSampling sampling, int position)
    {
        int best = ArgMax(logits);
        if (best < 0 || sampling.Temperature == 0 || !float.IsFinite(logits[best] / sampling.Temperature)) return best;
        Probabilities(logits, sampling);
        return Choose(logits, Philox.Uniform(sampling.Seed, position));
    }

    /// <summary>
    /// Turns logits into the probabilities left by temperature, top-k, top-p and min-p; dropped tokens get 0.
    /// Top-k keeps ties with the k-th. Top-p drops ascending values while their cumulative probability is at most 1 − p, lower ids
    /// first among equals, and never the last. Min-p drops what is less likely than its share of the most likely.
    /// </summary>
    public static void Probabilities(Span<float> logits, in SlotSampling sampling)
    {
        for (int i = 0; i < logits.Length; i++) logits[i] /= sampling.Temperature;
        int[] ascending = Ascending(logits);
        if (sampling.TopK > 0 && sampling.TopK < logits.Length)
        {
            float smallest = logits[ascending[^sampling.TopK]];
            for (int i = 0; i < logits.Length; i++) logits[i] = logits[i] < smallest ? float.NegativeInfinity : logits[i];
        }
        if (sampling.TopP < 1) DropTail(logits, ascending, sampling.TopP);
        Softmax(logits);
        if (sampling.MinP > 0)
        {
            float smallest = sampling.MinP * logits[ascending[^1]];
            foreach (int token in ascending.AsSpan(0, ascending.Length - 1)) logits[token] = logits[token] < smallest ? 0 : logits[token];
            Normalize(logits);
        }
    }

    /// <summary>The log-softmax of a row as it is: of the drawn token, then of the most likely ones, lower ids first among equals.</summary>
    public static void LogProbabilities(ReadOnlySpan<float> logits, int drawn, Span<TokenLogProbability> target)
    {
        double largest = double.NegativeInfinity, sum = 0;
        foreach (float logit in logits) largest = Math.Max(largest, logit);
        foreach (float logit in logits) sum += Math.Exp(logit - largest);
        double normalizer = largest + Math.Log(sum);
        float[] values = logits.ToArray();
        int[] falling = [.. Enumerable.Range(0, values.Length).OrderByDescending(token => values[token]).ThenBy(token => token).Take(target.Length - 1)];
        target[0] = new TokenLogProbability(drawn, (float)(values[drawn] - normalizer));
        for (int i = 0; i < falling.Length; i++) target[1 + i] = new TokenLogProbability(falling[i], (float)(values[falling[i]] - normalizer));
    }

    private static void DropTail(Span<float> logits, int[] ascending, float topP)
    {
        float[] probabilities = logits.ToArray();
        Softmax(probabilities);
        double cumulative = 0;
        foreach (int token in ascending.AsSpan(0, ascending.Length - 1))
        {
            cumulative += probabilities[token];
            if ((float)cumulative <= 1 - topP) logits[token] = float.NegativeInfinity;
        }
    }

    // The first id, in ascending order, at which the cumulative probability exceeds the share u of the total.
    private static int Choose(ReadOnlySpan<float> probabilities, double u)
    {
        double total = 0;
        foreach (float probability in probabilities) total += probability;
        double cumulative = 0;
        int last = -1;
        for (int i = 0; i < probabilities.Length; i++)
        {
            if (probabilities[i] == 0) continue;
            last = i;
            cumulative += probabilities[i];
            if (cumulative > u * total) break;
        }
        return last;
    }

    private static int[] Ascending(ReadOnlySpan<float> logits)
    {
        float[] keys = logits.ToArray();
        int[] order = new int[keys.Length];
        for (int i = 0; i < order.Length; i++) order[i] = i;
        Array.Sort(order, (a, b) => keys[a] != keys[b] ? keys[a].CompareTo(keys[b]) : a.CompareTo(b));
        return order;
    }

    private static void Softmax(Span<float> values)
    {
        float largest = float.NegativeInfinity;
        foreach (float value in values) largest = Math.Max(largest, value);
        for (int i = 0; i < values.Length; i++) values[i] = (float)Math.Exp((double)values[i] - largest);
        Normalize(values);
    }

    private static void Normalize(Span<float> values)
    {
        double sum = 0;
        foreach (float value in values) sum += value;
        for (int i = 0; i < values.Length; i++) values[i] = (float)(values[i] / sum);
    }

    private static int ArgMax(ReadOnlySpan<float> logits)
    {
        int best = -1;
        float largest = float.NegativeInfinity;
        for (int i = 0; i < logits.Length; i++)
        {
            if (float.IsNaN(logits[i])) return -1;
            if (logits[i] <= largest) continue;
            (best, largest) = (i, logits[i]);
        }
        return float.IsFinite(largest) ? best : -1;
    }
}
