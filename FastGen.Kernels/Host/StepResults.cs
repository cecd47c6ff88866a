using FastGen.Compute;

namespace FastGen.Kernels;

/// <summary>The drawn ids of the last two steps, until they are collected.</summary>
internal sealed class StepResults(StepLimits limits)
{
    private const int StepsKept = 2;

    private readonly int[][] _tokens = [new int[limits.Sequences], new int[limits.Sequences]];
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

    /// <summary>Copies the ids of the step with <paramref name="ticket"/>.</summary>
    public void Collect(long ticket, Span<int> tokens)
    {
        if (ticket <= _ticket - StepsKept || ticket <= 0 || ticket > _ticket) throw new ArgumentOutOfRangeException(nameof(ticket), ticket, $"The results of this step are not kept; the last step is {_ticket}, and one more may be uncollected.");
        _tokens[ticket % StepsKept].AsSpan(0, tokens.Length).CopyTo(tokens);
    }
}
