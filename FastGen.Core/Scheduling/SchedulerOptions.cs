namespace FastGen;

/// <summary>
/// How an engine divides its steps among requests. Who waits is admitted by the earliest deadline, arrival + prompt tokens / 512 s: a short prompt may pass a long one
/// that came little earlier.
/// </summary>
public sealed record SchedulerOptions
{
    /// <summary>
    /// The time between two tokens of a request that full steps should keep to: nine in ten of them do. The token budget then starts
    /// from the calibrated curve (<see cref="TokenBudgetCalibration"/>) and follows the times of the steps that run. Decodes are never held
    /// back for it, and prompts always get some tokens a step: where even such steps take longer, the target is missed. Null (the
    /// default) takes the budgets that were measured at load. No effect where <see cref="EngineOptions.TokenBudget"/> is set.
    /// </summary>
    public TimeSpan? TargetTimeBetweenTokens { get; init; }

    /// <summary>
    /// Dynamic SplitFuse (Holmes et al. 2024): steps mix decodes with pieces of prompts up to the token budget. False runs each prompt whole
    /// in a step of its own while all decodes wait, as continuous batching did before (Orca, Yu et al. 2022): for studies of the policy.
    /// A step then holds up to a whole context, and <see cref="EngineOptions.TokenBudget"/> and <see cref="TargetTimeBetweenTokens"/> must be null.
    /// Default true.
    /// </summary>
    public bool SplitFuse { get; init; } = true;
}
