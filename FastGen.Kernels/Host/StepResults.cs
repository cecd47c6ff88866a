using FastGen.Compute;

namespace FastGen.Kernels;

/// <summary>The drawn ids of the last two steps and the log probabilities asked for, until they are collected.</summary>
internal sealed class StepResults(StepLimits limits)
{
    private const int StepsKept = 2;

    private readonly int[][] _tokens = [new int[limits.Sequences], new int[limits.Sequences]];
    private readonly TokenLogProbability[][] _logProbabilities = [[], []];
    private long _ticket;

    /// <summary>Opens the results of a new step; none is drawn yet.</summary>
    public long Begin()
    {
        _ticket++;
        Current.Fill(-1);
        return _ticket;
    }

    /// <summary>Ids of the step begun last, by logit row.</summary>
    public Span<int> Current => _tokens[_ticket % StepsKept];

    /// <summary>Makes room for log probabilities in the step begun last.</summary>
    public void ReserveLogProbabilities()
    {
        ref TokenLogProbability[] current = ref _logProbabilities[_ticket % StepsKept];
        if (current.Length == 0) current = new TokenLogProbability[limits.Sequences * RaggedBatch.LogProbabilitiesPerRow];
    }

    /// <summary>A logit row's log probabilities in the step begun last.</summary>
    public Span<TokenLogProbability> LogProbabilities(int row) => _logProbabilities[_ticket % StepsKept].AsSpan(row * RaggedBatch.LogProbabilitiesPerRow, RaggedBatch.LogProbabilitiesPerRow);

    /// <summary>Copies the ids of the step with <paramref name="ticket"/>.</summary>
    public void Collect(long ticket, Span<int> tokens)
    {
        CheckKept(ticket);
        _tokens[ticket % StepsKept].AsSpan(0, tokens.Length).CopyTo(tokens);
    }

    /// <summary>Copies the log probabilities of the step with <paramref name="ticket"/>, if any were asked for.</summary>
    public void CollectLogProbabilities(long ticket, Span<TokenLogProbability> target)
    {
        CheckKept(ticket);
        TokenLogProbability[] kept = _logProbabilities[ticket % StepsKept];
        kept.AsSpan(0, Math.Min(kept.Length, target.Length)).CopyTo(target);
    }

    private void CheckKept(long ticket)
    {
        if (ticket <= _ticket - StepsKept || ticket <= 0 || ticket > _ticket) throw new ArgumentOutOfRangeException(nameof(ticket), ticket, $"The results of this step are not kept; the last step is {_ticket}, and one more may be uncollected.");
    }
}
