using System.Diagnostics;
using System.Globalization;
using System.Text;
using FastGen.Compute;

namespace FastGen;

/// <summary>One measured point: a step of this many prompt tokens takes this long.</summary>
/// <param name="Tokens">Tokens in the step.</param>
/// <param name="Duration">The lower quartile of the repetitions, fitted so that larger steps never take less.</param>
public readonly record struct CalibrationPoint(int Tokens, TimeSpan Duration)
{
    /// <summary>Throughput of such steps.</summary>
    public double TokensPerSecond => Tokens / Duration.TotalSeconds;
}

/// <summary>
/// Measures steps of growing size and chooses the token budget from the curve (the choice that DeepSpeed-FastGen leaves to its user). Larger
/// steps give more tokens a second, but every running request waits a whole step for its next token: the budget is the smallest that
/// reaches 98 % of the best throughput, or what fits into 25 ms where that is less, but no less than what reaches 90 %.
/// </summary>
/// <remarks>
/// Sizes take turns, so that another load on the machine meets all alike. Such a load only ever adds time: a size counts with the lower quartile
/// of its turns, and with no more than any larger size took.
/// </remarks>
public sealed class TokenBudgetCalibration
{
    private const int SmallestStep = 64, Turns = 7;

    /// <summary>Shares of the best throughput: enough, and the least that a short step may cost.</summary>
    private const double EnoughShare = 0.98, LeastShare = 0.90;

    /// <summary>Growth of throughput that a larger size should bring; when this many in a row do not, no larger ones are tried.</summary>
    private const double LeastGain = 1.01;

    private const int MostWithoutGain = 3;

    private static readonly TimeSpan ShortStep = TimeSpan.FromMilliseconds(25), LongestStep = TimeSpan.FromMilliseconds(200), LongestMeasurement = TimeSpan.FromSeconds(2);

    private readonly CalibrationPoint[] _curve;

    private TokenBudgetCalibration(CalibrationPoint[] curve)
    {
        _curve = curve;
        double best = curve.Max(point => point.TokensPerSecond);
        int SmallestReaching(double share) => curve.First(point => point.TokensPerSecond >= share * best).Tokens;
        TokenBudget = Math.Max(SmallestReaching(LeastShare), Math.Min(SmallestReaching(EnoughShare), TokensWithin(ShortStep)));
    }

    /// <summary>What was measured, by growing size.</summary>
    public IReadOnlyList<CalibrationPoint> Curve => _curve;

    /// <summary>The budget that follows from the curve.</summary>
    public int TokenBudget { get; }

    /// <summary>
    /// What a step of one prompt's <paramref name="tokens"/> takes: between measured sizes along a straight line, below the smallest as long as that, beyond the
    /// largest in proportion.
    /// </summary>
    public TimeSpan DurationOf(int tokens)
    {
        int above = 0;
        while (above < _curve.Length && _curve[above].Tokens < tokens) above++;
        if (above == 0) return _curve[0].Duration;
        CalibrationPoint low = _curve[above - 1];
        if (above == _curve.Length) return low.Duration * ((double)tokens / low.Tokens);
        CalibrationPoint high = _curve[above];
        return low.Duration + ((high.Duration - low.Duration) * ((double)(tokens - low.Tokens) / (high.Tokens - low.Tokens)));
    }

    /// <summary>The largest step of one prompt that takes no longer than <paramref name="duration"/>; at least 1, at most the largest measured.</summary>
    public int TokensWithin(TimeSpan duration)
    {
        int above = 0;
        while (above < _curve.Length && _curve[above].Duration <= duration) above++;
        if (above == 0) return Math.Max(1, (int)(_curve[0].Tokens * (duration / _curve[0].Duration)));
        CalibrationPoint low = _curve[above - 1];
        if (above == _curve.Length) return low.Tokens;
        CalibrationPoint high = _curve[above];
        return low.Tokens + (int)((high.Tokens - low.Tokens) * ((duration - low.Duration) / (high.Duration - low.Duration)));
    }

    /// <summary>The curve as a table.</summary>
    public override string ToString()
    {
        StringBuilder table = new("tokens in a step        ms  tokens/s");
        foreach (CalibrationPoint point in Curve)
        {
            table.AppendLine();
            table.Append(CultureInfo.InvariantCulture, $"{point.Tokens,16} {point.Duration.TotalMilliseconds,9:F2} {point.TokensPerSecond,9:F0}");
        }
        return table.ToString();
    }

    internal static TokenBudgetCalibration Measure(IBackend backend, ModelRunner runner, StepLimits limits, int vocabulary, int largest)
    {
        RaggedBatch batch = new(limits);
        int[] drawn = new int[1];
        return Measure(largest, tokens =>
        {
            Fill(batch, tokens, vocabulary);
            long start = Stopwatch.GetTimestamp();
            backend.Collect(runner.Submit(batch), drawn);
            return Stopwatch.GetElapsedTime(start);
        });
    }

    /// <summary>Calibrates with whatever <paramref name="run"/> says that a step of so many tokens took.</summary>
    internal static TokenBudgetCalibration Measure(int largest, Func<int, TimeSpan> run)
    {
        List<int> sizes = [];
        List<List<TimeSpan>> times = [];
        TimeSpan spent = TimeSpan.Zero;
        double best = 0;
        int withoutGain = 0;
        foreach (int size in Sizes(largest))
        {
            // The first step of a size compiles kernels and chooses algorithms.
            run(size);
            List<TimeSpan> measured = [run(size)];
            if (measured[0] < LongestStep) measured.Add(run(size));
            sizes.Add(size);
            times.Add(measured);
            foreach (TimeSpan time in measured) spent += time;
            double rate = size / measured.Min().TotalSeconds;
            withoutGain = rate < LeastGain * best ? withoutGain + 1 : 0;
            if (measured.Min() > LongestStep || withoutGain == MostWithoutGain) break;
            best = Math.Max(best, rate);
        }
        for (int turn = 2; turn < Turns && spent < LongestMeasurement; turn++)
        {
            for (int i = 0; i < sizes.Count; i++)
            {
                TimeSpan time = run(sizes[i]);
                times[i].Add(time);
                spent += time;
            }
        }
        return new TokenBudgetCalibration(Monotone([.. sizes.Select((size, i) => new CalibrationPoint(size, LowerQuartile(times[i])))]));
    }

    // 64, 128, and from there two to each doubling: 192, 256, 384, 512, …
    private static IEnumerable<int> Sizes(int largest)
    {
        for (int size = SmallestStep; size < largest; size *= 2)
        {
            yield return size;
            int between = size + (size / 2);
            if (size > SmallestStep && between < largest) yield return between;
        }
        yield return largest;
    }

    private static TimeSpan LowerQuartile(List<TimeSpan> times)
    {
        times.Sort();
        return new TimeSpan(Math.Max(1, times[(times.Count - 1) / 4].Ticks));
    }

    private static CalibrationPoint[] Monotone(CalibrationPoint[] curve)
    {
        for (int i = curve.Length - 2; i >= 0; i--)
        {
            if (curve[i].Duration > curve[i + 1].Duration) curve[i] = curve[i] with { Duration = curve[i + 1].Duration };
        }
        return curve;
    }

    // Tokens of all kinds: rows that are equal take a GPU less power, and so less time, than those of a text.
    private static void Fill(RaggedBatch batch, int tokens, int vocabulary)
    {
        int blockSize = batch.Limits.BlockSize;
        int[] blocks = [.. Enumerable.Range(0, (tokens + blockSize - 1) / blockSize)];
        batch.Clear();
        batch.SetSampling(0, SamplingParameters.Greedy.ForSlot(0, tokens));
        for (int i = 0; i < blocks.Length; i++) batch.SetBlock(0, i, blocks[i]);
        batch.AddSequence(0, [.. Enumerable.Range(0, tokens).Select(i => (int)(i * 7919L % vocabulary))], 0, blocks);
        batch.AddLogitRow();
    }
}
