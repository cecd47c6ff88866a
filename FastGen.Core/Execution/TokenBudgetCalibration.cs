using System.Diagnostics;
using System.Globalization;
using System.Text;
using FastGen.Compute;

namespace FastGen;

/// <summary>One measured point: a step of this many tokens takes this long.</summary>
/// <param name="Tokens">Tokens in the step: some decodes, and a prompt's chunk for the rest.</param>
/// <param name="Duration">The lower quartile of the repetitions, fitted so that larger steps never take less.</param>
public readonly record struct CalibrationPoint(int Tokens, TimeSpan Duration)
{
    /// <summary>Throughput of such steps.</summary>
    public double TokensPerSecond => Tokens / Duration.TotalSeconds;
}

/// <summary>
/// Measures steps of growing size, some decodes beside a prompt's chunk (or, beyond the longest context, chunks of several prompts), and chooses token budgets from
/// the curve (the choice that DeepSpeed-FastGen leaves to its user). Larger steps give more tokens a second, but every running request waits a whole step for its next token. So there are three: while tokens are read as they come,
/// the smallest measured size that reaches 90 % of the best throughput, or where many prompts wait the smallest that reaches 98 %, but none that takes longer than
/// 26 ms; else the largest that takes no longer than 52 ms, as long as it reaches 97 %: the fewer steps, the less often decodes read their contexts. Where none does,
/// the smallest that reaches 97 %: who waits for whole results does not wait for a step. None is below the one before, whatever that takes.
/// </summary>
/// <remarks>
/// Sizes take turns, so that another load on the machine meets all alike. Such a load only ever adds time: a size counts with the lower quartile
/// of its turns, and with no more than any larger size took.
/// </remarks>
public sealed class TokenBudgetCalibration
{
    private const int SmallestStep = 64, LeastTurns = 3, MostTurns = 7;

    /// <summary>Shares of the best throughput that are enough for each budget.</summary>
    private const double ThroughputShare = 0.97, BacklogShare = 0.98, StreamingShare = 0.90;

    /// <summary>Decodes of a step, at most one in eight tokens, and the context of each and of the middle of the chunk: a larger chunk then differs in nothing else.</summary>
    private const int MostDecodes = 16, Context = 1536;

    /// <summary>Growth of throughput that a larger size should bring; when this many in a row do not, no larger ones are tried.</summary>
    private const double LeastGain = 1.01;

    private const int MostWithoutGain = 3;

    /// <summary>Growth of throughput that a size beyond <see cref="LongestStep"/> has to bring for the next to be tried, as it does where experts share a step's rows.</summary>
    private const double GainOfLongSteps = 1.03;

    /// <summary>Longest steps: while many prompts wait, while nobody reads tokens as they come, of sizes that are tried in any case, and of all that are tried.</summary>
    private static readonly TimeSpan ShortStep = TimeSpan.FromMilliseconds(26), LongStep = TimeSpan.FromMilliseconds(52), LongestStep = TimeSpan.FromMilliseconds(100), LimitOfSteps = TimeSpan.FromMilliseconds(200);

    /// <summary>Time spent on steps after which no further turn begins: of the first turns, and of those that only steady the figures, so that a small model loads at once.</summary>
    private static readonly TimeSpan LongestMeasurement = TimeSpan.FromSeconds(2), LongestRefinement = TimeSpan.FromMilliseconds(250);

    /// <summary>
    /// What every other sequence draws by on a backend of this process's own code, so that the runtime has compiled that for speed before the first request: else a small
    /// model's first thousands of tokens are drawn by code that is not optimized.
    /// </summary>
    private static readonly SamplingParameters Drawing = new() { Temperature = 1, TopP = 0.95f };

    private readonly CalibrationPoint[] _curve;

    private TokenBudgetCalibration(CalibrationPoint[] curve)
    {
        _curve = curve;
        // Who reads tokens as they come does not wait for what only longer steps gain.
        CalibrationPoint[] streaming = [.. curve.TakeWhile((_, i) => i == 0 || curve[i - 1].Duration <= LongestStep)];
        double best = curve.Max(point => point.TokensPerSecond);
        StreamingTokenBudget = SmallestReaching(StreamingShare, streaming);
        BacklogTokenBudget = Math.Max(StreamingTokenBudget, Math.Min(SmallestReaching(BacklogShare, streaming), streaming.LastOrDefault(point => point.Duration <= ShortStep, curve[0]).Tokens));
        CalibrationPoint[] largeEnough = [.. curve.Where(point => point.TokensPerSecond >= ThroughputShare * best)];
        ThroughputTokenBudget = Math.Max(BacklogTokenBudget, largeEnough.LastOrDefault(point => point.Duration <= LongStep, largeEnough[0]).Tokens);
    }

    /// <summary>What was measured, by growing size.</summary>
    public IReadOnlyList<CalibrationPoint> Curve => _curve;

    /// <summary>Tokens of a step while nobody reads tokens as they come: the largest budget.</summary>
    public int ThroughputTokenBudget { get; }

    /// <summary>Tokens of a step while tokens are read as they come and many prompts wait.</summary>
    public int BacklogTokenBudget { get; }

    /// <summary>Tokens of a step while tokens are read as they come and few prompts wait.</summary>
    public int StreamingTokenBudget { get; }

    /// <summary>
    /// What a step of <paramref name="tokens"/> takes: between measured sizes along a straight line, below the smallest as long as that, beyond the
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

    /// <summary>The largest step that takes no longer than <paramref name="duration"/>; at least 1, at most the largest measured.</summary>
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

    internal static TokenBudgetCalibration Measure(IBackend backend, ModelRunner runner, StepLimits limits, int vocabulary, int maxContext, CancellationToken cancellationToken)
    {
        RaggedBatch batch = new(limits);
        int[] drawn = new int[limits.Sequences];
        // A step larger than a context has chunks of several prompts.
        long most = (long)maxContext * Math.Max(1, limits.Sequences - MostDecodes);
        return Measure((int)Math.Min(limits.Tokens, most), tokens =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            Fill(batch, tokens, vocabulary, maxContext, draws: !backend.CompilesSteps);
            long start = Stopwatch.GetTimestamp();
            backend.Collect(runner.Submit(batch), drawn.AsSpan(0, batch.LogitRowCount));
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
            if (measured[0] < LimitOfSteps) measured.Add(run(size));
            sizes.Add(size);
            times.Add(measured);
            foreach (TimeSpan time in measured) spent += time;
            double rate = size / measured.Min().TotalSeconds;
            withoutGain = rate < LeastGain * best ? withoutGain + 1 : 0;
            if (measured.Min() > LimitOfSteps || (measured.Min() > LongestStep && (sizes.Count == 1 || rate < GainOfLongSteps * best)) || withoutGain == MostWithoutGain) break;
            best = Math.Max(best, rate);
        }
        for (int turn = 2; turn < MostTurns && spent < (turn < LeastTurns ? LongestMeasurement : LongestRefinement); turn++)
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

    // A size between two measured ones may take as long as the larger: products of a GPU come in tiles of rows.
    private static int SmallestReaching(double share, CalibrationPoint[] points)
    {
        double best = points.Max(point => point.TokensPerSecond);
        return points.First(point => point.TokensPerSecond >= share * best).Tokens;
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

    // Tokens of all kinds: rows that are equal take a GPU less power, and so less time, than those of a text. The block tables are still empty:
    // every context lies in block 0.
    private static void Fill(RaggedBatch batch, int tokens, int vocabulary, int maxContext, bool draws)
    {
        int decodes = Math.Min(Math.Min(MostDecodes, tokens / 8), batch.Limits.Sequences - 1);
        int[] ids = [.. Enumerable.Range(0, tokens).Select(i => (int)(i * 7919L % vocabulary))], blocks = new int[batch.Limits.BlocksPerSequence];
        int prompt = tokens - decodes, chunks = (prompt + maxContext - 1) / maxContext;
        batch.Clear();
        for (int slot = 0; slot < decodes; slot++) Add(slot, ids.AsSpan(slot, 1));
        for (int chunk = 0, begin = decodes; chunk < chunks; chunk++)
        {
            int end = decodes + (int)((long)prompt * (chunk + 1) / chunks);
            Add(decodes + chunk, ids.AsSpan(begin, end - begin));
            begin = end;
        }

        void Add(int slot, ReadOnlySpan<int> own)
        {
            int position = Math.Clamp(Context - (own.Length / 2), 0, maxContext - own.Length);
            batch.SetSampling(slot, (draws && slot % 2 == 1 ? Drawing : SamplingParameters.Greedy).ForSlot(0, position + own.Length));
            batch.AddSequence(slot, own, position, blocks);
            batch.AddLogitRow();
        }
    }
}
