namespace FastGen;

/// <summary>
/// Keeps steps to a time by choosing their token budget. The calibrated curve says what a step of n tokens takes when it is one prompt; the
/// controller learns by what factor the steps that run differ from it (contexts, clocks, other users of the device) and inverts the curve
/// at target / factor. The factor is the fourth largest of the last 32 full steps: three stray steps do not count, dearer steps count after
/// four, cheaper ones once the window has passed, so that it backs off quickly and returns slowly. A dead band of a sixteenth keeps the
/// budget still under noise. It cannot swing: a factor falls as the budget grows where steps have a fixed cost, so that each choice lies
/// between the last one and the fixed point.
/// </summary>
internal sealed class TokenBudgetController
{
    private const int Window = 32;

    /// <summary>Which of the window's factors counts, from the largest down.</summary>
    private const int Rank = 4;

    private const double DeadBand = 1.0 / 16;

    private const double LargestFactor = 64;

    /// <summary>The share of the budget from which a step is full: shorter ones say little about what the budget does.</summary>
    private const double FullShare = 0.75;

    /// <summary>Prompt tokens beside the decodes of a step, however long those take.</summary>
    private const int SmallestChunk = 64;

    private readonly TokenBudgetCalibration _curve;
    private readonly TimeSpan _target;
    private readonly int _largest;
    private readonly double[] _factors = new double[Window];
    private long _observed;

    public TokenBudgetController(TokenBudgetCalibration curve, TimeSpan target, int largest)
    {
        _curve = curve;
        _target = target;
        _largest = largest;
        Budget = Within(factor: 1);
    }

    /// <summary>Tokens of a step that keeps to the target.</summary>
    public int Budget { get; private set; }

    /// <summary>The budget of a step in which <paramref name="running"/> sequences may decode.</summary>
    public int BudgetFor(int running) => Math.Min(Math.Max(Budget, running + SmallestChunk), _largest);

    public bool IsFull(int tokens) => tokens >= FullShare * Budget;

    /// <summary>A full step of <paramref name="tokens"/> took <paramref name="duration"/>.</summary>
    public void Observe(int tokens, TimeSpan duration)
    {
        _factors[_observed++ % Window] = Math.Clamp(duration / _curve.DurationOf(tokens), 1 / LargestFactor, LargestFactor);
        // Before four steps are known, the calibrated curve is trusted.
        if (_observed < Rank) return;
        int wanted = Within(Factor());
        if (Math.Abs(wanted - Budget) > DeadBand * Budget) Budget = wanted;
    }

    private int Within(double factor) => Math.Clamp(_curve.TokensWithin(_target / factor), Math.Min(SmallestChunk, _largest), _largest);

    private double Factor()
    {
        int known = (int)Math.Min(_observed, Window);
        Span<double> largest = stackalloc double[Rank];
        largest.Clear();
        foreach (double factor in _factors.AsSpan(0, known))
        {
            int at = Rank - 1;
            if (factor <= largest[at]) continue;
            for (; at > 0 && largest[at - 1] < factor; at--) largest[at] = largest[at - 1];
            largest[at] = factor;
        }
        return largest[Rank - 1];
    }
}
