using FastGen.Compute;

namespace FastGen.Kernels;

/// <summary>Which tokens one sequence holds, and how often its output does.</summary>
internal sealed class PenaltyCounts(int vocabularySize, int capacity)
{
    // 0: not in the sequence; otherwise 1 + occurrences in the output.
    private readonly int[] _counts = new int[vocabularySize];
    private readonly List<int> _distinct = new(Math.Min(vocabularySize, capacity));

    public void Clear()
    {
        foreach (int token in _distinct) _counts[token] = 0;
        _distinct.Clear();
    }

    public void Count(int token, bool isOutput)
    {
        if (_counts[token] == 0)
        {
            _counts[token] = 1;
            _distinct.Add(token);
        }
        if (isOutput) _counts[token]++;
    }

    /// <summary>
    /// Divides positive and multiplies negative logits of all tokens held (Keskar et al. 2019); then, for tokens of the output,
    /// subtracts the presence penalty and the frequency penalty once an occurrence.
    /// </summary>
    public void Apply(Span<float> logits, in SlotSampling sampling)
    {
        foreach (int token in _distinct)
        {
            ref float logit = ref logits[token];
            logit = logit < 0 ? logit * sampling.RepetitionPenalty : logit / sampling.RepetitionPenalty;
            int occurrences = _counts[token] - 1;
            if (occurrences > 0) logit -= sampling.PresencePenalty + (sampling.FrequencyPenalty * occurrences);
        }
    }
}
