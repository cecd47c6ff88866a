namespace FastGen;

/// <summary>
/// A snapshot of an engine's state and of what it has done since it was made, taken after each step: a request that ended in the step that runs may still be counted,
/// with its blocks, when its caller has the result.
/// </summary>
public readonly record struct EngineStatistics
{
    /// <summary>Requests that run.</summary>
    public int RunningRequests { get; init; }

    /// <summary>Requests that wait to run.</summary>
    public int WaitingRequests { get; init; }

    /// <summary>Cache blocks in use.</summary>
    public int UsedBlocks { get; init; }

    /// <summary>Most cache blocks that were in use at once.</summary>
    public int PeakUsedBlocks { get; init; }

    /// <summary>Cache blocks in all.</summary>
    public int TotalBlocks { get; init; }

    /// <summary>Tokens in a cache block.</summary>
    public int BlockSize { get; init; }

    /// <summary>Tokens that one step may hold.</summary>
    public int TokenBudget { get; init; }

    /// <summary>Steps that ran.</summary>
    public long Steps { get; init; }

    /// <summary>Tokens that went through the model, recomputed ones included.</summary>
    public long ComputedTokens { get; init; }

    /// <summary>Tokens given to requests.</summary>
    public long GeneratedTokens { get; init; }

    /// <summary>Times that a request had to restart because the cache was full.</summary>
    public long Preemptions { get; init; }
}
