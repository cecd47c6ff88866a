using FastGen.Compute;

namespace FastGen;

/// <summary>One of the two steps that an engine keeps: one in flight, one being made.</summary>
internal sealed class EngineStep(StepLimits limits)
{
    private TokenLogProbability[]? _logProbabilities;

    public List<ScheduledSequence> Work { get; } = new(limits.Sequences);

    public RaggedBatch Batch { get; } = new(limits);

    public long Ticket { get; set; }

    /// <summary>Timestamp of its start.</summary>
    public long Started { get; set; }

    /// <summary>Ids drawn, in the order of the batch's logit rows.</summary>
    public int[] Drawn { get; } = new int[limits.Sequences];

    /// <summary>Whether a sequence of this step asks for log probabilities.</summary>
    public bool WantsLogProbabilities { get; set; }

    /// <summary>Log probabilities, rows in the order of the batch's logit rows; made when first asked for.</summary>
    public TokenLogProbability[] LogProbabilities => _logProbabilities ??= new TokenLogProbability[limits.Sequences * RaggedBatch.LogProbabilitiesPerRow];
}
