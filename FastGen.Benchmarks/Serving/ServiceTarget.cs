namespace FastGen.Benchmarks.Serving;

/// <summary>
/// When a request counts as served, after DeepSpeed-FastGen (Holmes et al. 2024): its first token comes within prompt / <paramref name="PromptRate"/> seconds, and the
/// exponential mean (span 16) of the time between its tokens never exceeds 1 / <paramref name="TokenRate"/> seconds.
/// </summary>
/// <param name="PromptRate">Prompt tokens a second.</param>
/// <param name="TokenRate">Generated tokens a second.</param>
internal sealed record ServiceTarget(int PromptRate, int TokenRate)
{
    private const double Weight = 2.0 / (16 + 1);

    /// <summary>Three of the paper, and two for today's devices.</summary>
    public static IReadOnlyList<ServiceTarget> All { get; } = [new(512, 2), new(512, 4), new(512, 6), new(4096, 30), new(8192, 50)];

    /// <summary>Name of its effective throughput in a summary.</summary>
    public string Field => $"eff_{PromptRate}_{TokenRate}";

    public bool IsMetBy(MeasuredRequest request)
    {
        if (request.TimeToFirstToken > request.Plan.PromptTokens / (double)PromptRate) return false;
        double mean = double.NaN;
        foreach (double time in request.TimesBetweenTokens)
        {
            mean = double.IsNaN(mean) ? time : mean + (Weight * (time - mean));
            if (mean > 1.0 / TokenRate) return false;
        }
        return true;
    }
}
