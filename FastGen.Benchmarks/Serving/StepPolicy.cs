using System.Globalization;

namespace FastGen.Benchmarks.Serving;

/// <summary>How steps are filled.</summary>
/// <param name="Budget">Tokens a step; null leaves it to calibration.</param>
/// <param name="Target">Time between tokens that steps keep to.</param>
/// <param name="SplitFuse">False for whole prompts in steps of their own.</param>
internal sealed record StepPolicy(int? Budget, TimeSpan? Target, bool SplitFuse)
{
    public static StepPolicy Default { get; } = new(null, null, true);

    /// <summary>In words, short enough for a table and a plot.</summary>
    public string Name => this switch
    {
        { SplitFuse: false } => "whole prompts",
        { Target: { } target } => string.Create(CultureInfo.InvariantCulture, $"target {target.TotalMilliseconds:0.#} ms"),
        { Budget: { } budget } => string.Create(CultureInfo.InvariantCulture, $"{budget} tokens"),
        _ => "default",
    };

    public EngineOptions ApplyTo(EngineOptions options) => options with
    {
        TokenBudget = Budget,
        Scheduler = new SchedulerOptions { TargetTimeBetweenTokens = Target, SplitFuse = SplitFuse },
    };
}
