namespace FastGen.Tests;

public sealed class TokenBudgetCalibrationTests
{
    // Milliseconds of a step on a device that reads its weights in 4.3 ms and does 43,000 tokens a second: an 8B model on a large GPU.
    private static double LargeDevice(int tokens) => Math.Max(4.3, 0.9 + (tokens / 43.0));

    [Test]
    public void Measure_LargeDevice_SpendsAShortStep()
    {
        TokenBudgetCalibration calibration = Calibrate(8192, LargeDevice);
        Assert.That(calibration.BacklogTokenBudget, Is.EqualTo(1024), $"1,024 of the measured sizes take 25 ms, 1,536 take 37.\n{calibration}");
        Assert.That(calibration.ThroughputTokenBudget, Is.EqualTo(2048), $"2,048 take 49 ms, which is within 52.\n{calibration}");
        Assert.That(calibration.StreamingTokenBudget, Is.InRange(256, 512));
    }

    [Test]
    public void Measure_SlowDevice_ReachesTheKneeWhateverItTakes()
    {
        TokenBudgetCalibration calibration = Calibrate(8192, tokens => Math.Max(60, 2 + (tokens / 2.0)));
        Assert.That(calibration.ThroughputTokenBudget, Is.InRange(96, 192), calibration.ToString());
        Assert.That(calibration.StreamingTokenBudget, Is.EqualTo(calibration.ThroughputTokenBudget));
    }

    [Test]
    public void Measure_MixtureOfExperts_WholeResultsTakeTheLongStepsThatGain()
    {
        // Milliseconds of a step that reads all experts in 24 ms and fills their tiles the better, the more rows there are.
        TokenBudgetCalibration calibration = Calibrate(8192, tokens => 18 + (6 * (1 - Math.Exp(-tokens / 64.0))) + (tokens / 24.0));
        Assert.That(calibration.Curve[^1].Duration.TotalMilliseconds, Is.InRange(200, 320), calibration.ToString());
        Assert.That(calibration.ThroughputTokenBudget, Is.InRange(2048, 6144), calibration.ToString());
        Assert.That(calibration.DurationOf(calibration.StreamingTokenBudget).TotalMilliseconds, Is.LessThan(100), calibration.ToString());
    }

    [Test]
    public void Measure_SlowDevice_TriesNoStepsThatOnlyTakeLonger()
    {
        List<int> sizes = [];
        TokenBudgetCalibration.Measure(8192, tokens =>
        {
            sizes.Add(tokens);
            return TimeSpan.FromMilliseconds(tokens * 1.7);
        });
        Assert.That(sizes.Max(), Is.EqualTo(64), "It takes 109 ms; more tokens gain nothing.");
    }

    [Test]
    public void Measure_SmallModel_StopsWhereMoreTokensGainNothing()
    {
        List<int> sizes = [];
        TokenBudgetCalibration calibration = TokenBudgetCalibration.Measure(8192, tokens =>
        {
            sizes.Add(tokens);
            return TimeSpan.FromMilliseconds(Math.Max(0.5, 0.05 + (tokens / 150.0)));
        });
        Assert.That(calibration.ThroughputTokenBudget, Is.InRange(256, 768), calibration.ToString());
        Assert.That(sizes.Max(), Is.LessThan(8192), "Nothing is to be learned there.");
    }

    [Test]
    public void Measure_LoadedHost_IsAsOnAQuietOne([Range(1, 20)] int seed)
    {
        Random random = new(seed);
        // A fifth of the steps is held up, some for long.
        TokenBudgetCalibration loaded = Calibrate(8192, tokens => LargeDevice(tokens) * (1 + (0.03 * random.NextDouble())) * (random.Next(5) == 0 ? 1 + (4 * random.NextDouble()) : 1));
        Assert.That(loaded.BacklogTokenBudget, Is.InRange(700, 1100), loaded.ToString());
        Assert.That(loaded.ThroughputTokenBudget, Is.InRange(1500, 2100), loaded.ToString());
    }

    [Test]
    public void Measure_AnyTimes_CurveIsMonotone([Range(1, 20)] int seed)
    {
        Random random = new(seed);
        TokenBudgetCalibration calibration = Calibrate(random.Next(1, 9000), _ => random.NextDouble());
        Assert.That(calibration.Curve.Select(point => point.Tokens), Is.Ordered.Ascending);
        Assert.That(calibration.Curve.Select(point => point.Duration), Is.Ordered.Ascending);
        Assert.That(calibration.ThroughputTokenBudget, Is.InRange(1, calibration.Curve[^1].Tokens));
    }

    [Test]
    public void TokensWithin_DurationOf_AreInverse()
    {
        TokenBudgetCalibration calibration = Calibrate(2048, tokens => 1 + (tokens / 40.0));
        for (int tokens = 64; tokens <= 2048; tokens += 37) Assert.That(calibration.TokensWithin(calibration.DurationOf(tokens)), Is.EqualTo(tokens).Within(1));
        Assert.That(calibration.TokensWithin(TimeSpan.FromHours(1)), Is.EqualTo(2048), "No more than was measured.");
        Assert.That(calibration.TokensWithin(TimeSpan.FromTicks(1)), Is.EqualTo(1), "Somebody always goes on.");
        Assert.That(calibration.DurationOf(4096), Is.EqualTo(2 * calibration.DurationOf(2048)));
    }

    [Test]
    public void Measure_NoTimeAtAll_StillHasABudget() => Assert.That(TokenBudgetCalibration.Measure(64, _ => TimeSpan.Zero).ThroughputTokenBudget, Is.EqualTo(64));

    private static TokenBudgetCalibration Calibrate(int largest, Func<int, double> milliseconds) => TokenBudgetCalibration.Measure(largest, tokens => TimeSpan.FromMilliseconds(milliseconds(tokens)));
}
