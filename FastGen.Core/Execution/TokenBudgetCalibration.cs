using System.Diagnostics;
using FastGen.Compute;

namespace FastGen;

/// <summary>One measured point: a step of this many prompt tokens takes this long.</summary>
/// <param name="Tokens">Tokens in the step.</param>
/// <param name="Duration">Best of the repetitions.</param>
public readonly record struct CalibrationPoint(int Tokens, TimeSpan Duration)
{
    /// <summary>Throughput of such steps.</summary>
    public double TokensPerSecond => Tokens / Duration.TotalSeconds;
}

/// <summary>
/// Measures steps of growing size and takes the knee of tokens per second against tokens per step as the token budget:
/// larger steps would only add latency (the choice that DeepSpeed-FastGen leaves to its user).
/// </summary>
public sealed class TokenBudgetCalibration
{
    private const int SmallestBudget = 64;
    private const int Repetitions = 2;

    /// <summary>The share of the best throughput that the budget must reach.</summary>
    private const double KneeShare = 0.95;

    private static readonly TimeSpan LongestStep = TimeSpan.FromMilliseconds(200);

    private TokenBudgetCalibration(IReadOnlyList<CalibrationPoint> curve)
    {
        Curve = curve;
        double best = curve.Max(point => point.TokensPerSecond);
        TokenBudget = curve.First(point => point.TokensPerSecond >= KneeShare * best).Tokens;
    }

    /// <summary>What was measured, by growing size.</summary>
    public IReadOnlyList<CalibrationPoint> Curve { get; }

    /// <summary>The smallest measured step whose throughput is within 5 % of the best.</summary>
    public int TokenBudget { get; }

    internal static TokenBudgetCalibration Measure(IBackend backend, ModelRunner runner, StepLimits limits, int largest)
    {
        RaggedBatch batch = new(limits);
        List<CalibrationPoint> curve = [];
        Span<int> drawn = stackalloc int[1];
        for (int tokens = Math.Min(SmallestBudget, largest); ; tokens = Math.Min(2 * tokens, largest))
        {
            Fill(batch, tokens);
            TimeSpan best = TimeSpan.MaxValue;
            for (int i = 0; i < Repetitions; i++)
            {
                long start = Stopwatch.GetTimestamp();
                backend.Collect(runner.Submit(batch), drawn);
                TimeSpan elapsed = Stopwatch.GetElapsedTime(start);
                if (elapsed < best) best = elapsed;
            }
            curve.Add(new CalibrationPoint(tokens, best));
            if (tokens == largest || best > LongestStep) return new TokenBudgetCalibration(curve);
        }
    }

    private static void Fill(RaggedBatch batch, int tokens)
    {
        int blockSize = batch.Limits.BlockSize;
        int[] blocks = [.. Enumerable.Range(0, (tokens + blockSize - 1) / blockSize)];
        batch.Clear();
        batch.SetSampling(0, SamplingParameters.Greedy.ForSlot(0, tokens));
        for (int i = 0; i < blocks.Length; i++) batch.SetBlock(0, i, blocks[i]);
        batch.AddSequence(0, new int[tokens], 0, blocks);
        batch.AddLogitRow();
    }
}
