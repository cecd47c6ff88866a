namespace FastGen.Tests;

/// <summary>The controller on a simulated device in virtual time: steps cost what a model says, with noise, and the model may change.</summary>
public sealed class TokenBudgetControllerTests
{
    private const double Target = 20;

    private static readonly TokenBudgetCalibration Curve = TokenBudgetCalibration.Measure(8192, tokens => TimeSpan.FromMilliseconds(Calibrated(tokens)));

    private static double Calibrated(int tokens) => Math.Max(4, 1 + (tokens / 42.0));

    [Test]
    public void Budget_AtStart_IsWhatTheCurveSays() => Assert.That(new TokenBudgetController(Curve, Milliseconds(Target), 8192).Budget, Is.EqualTo(798).Within(2));

    [Test]
    public void Observe_DecodesWithLongContexts_GoesMonotonicallyToTheFixedPoint([Values(0.0, 2, 5, 10)] double contextCost)
    {
        Simulation simulation = new() { Cost = tokens => Calibrated(tokens) + contextCost };
        simulation.Run(400);
        int[] budgets = [.. simulation.Budgets];
        Assert.That(budgets, Is.Ordered.Descending, "It never swings.");
        Assert.That(simulation.Times[^1], Is.InRange(0.9 * Target, 1.08 * Target), "It arrives, to the dead band.");
    }

    [Test]
    public void Observe_CostGrowsFasterThanCalibrated_Settles()
    {
        Simulation simulation = new() { Cost = tokens => 2 * Calibrated(tokens) * (1 + (tokens / 2000.0)) };
        simulation.Run(400);
        Assert.That(simulation.Budgets.TakeLast(200).Distinct().Count(), Is.LessThanOrEqualTo(2));
        Assert.That(simulation.Times[^1], Is.InRange(0.8 * Target, 1.08 * Target));
    }

    [Test]
    public void Observe_Noise_NineInTenStepsKeepToTheTargetAndTheBudgetIsStill([Values(0.02, 0.05, 0.15)] double noise, [Range(1, 8)] int seed)
    {
        Simulation simulation = new(seed) { Cost = tokens => Calibrated(tokens) + 3, Noise = noise };
        simulation.Run(2000);
        double[] times = [.. simulation.Times.Skip(200)];
        int[] budgets = [.. simulation.Budgets.Skip(200)];
        Assert.That(times.Count(time => time <= 1.03 * Target) / (double)times.Length, Is.GreaterThan(0.85));
        Assert.That(times.Average(), Is.GreaterThan(0.75 * Target), "The time is used.");
        Assert.That(budgets.Max() - budgets.Min(), Is.LessThanOrEqualTo((0.12 + (2 * noise)) * budgets.Average()), "It swings no further than the noise.");
        Assert.That(budgets.Zip(budgets.Skip(1)).Count(pair => pair.First != pair.Second), Is.LessThan(budgets.Length / 12), "It rests between.");
    }

    [Test]
    public void Observe_CostDoublesAndHalves_FollowsQuicklyDownAndSlowlyUp()
    {
        Simulation simulation = new(3) { Cost = Calibrated, Noise = 0.03 };
        simulation.Run(200);
        int before = simulation.Budgets[^1];
        simulation.Cost = tokens => 2 * Calibrated(tokens);
        simulation.Run(10);
        Assert.That(simulation.Times[^1], Is.LessThan(1.1 * Target), "Ten steps are enough to back off.");
        simulation.Run(200);
        Assert.That(simulation.Times.TakeLast(200).Average(), Is.InRange(0.8 * Target, Target));
        simulation.Cost = Calibrated;
        simulation.Run(60);
        Assert.That(simulation.Budgets[^1], Is.EqualTo(before).Within(15).Percent, "It is back after the window has passed.");
        Assert.That(simulation.Times.TakeLast(30).Max(), Is.LessThan(1.15 * Target), "It does not overshoot.");
    }

    [Test]
    public void Observe_StraySteps_ChangeNothing()
    {
        int step = 0;
        Simulation simulation = new() { Cost = tokens => Calibrated(tokens) * (++step % 12 == 0 ? 10 : 1) };
        simulation.Run(500);
        Assert.That(simulation.Budgets.Distinct().Count(), Is.EqualTo(1));
    }

    [Test]
    public void BudgetFor_TargetBelowReach_LeavesRoomForDecodesAndSomePrompt()
    {
        Simulation simulation = new() { Cost = _ => 50 * Target };
        simulation.Run(100);
        Assert.That(simulation.Controller.Budget, Is.EqualTo(64));
        Assert.That(simulation.Controller.BudgetFor(500), Is.EqualTo(564));
        Assert.That(simulation.Controller.BudgetFor(9000), Is.EqualTo(8192), "Never above what a step has room for.");
    }

    [Test]
    public void Observe_MeaninglessTimes_AreSurvived()
    {
        TokenBudgetController controller = new(Curve, Milliseconds(Target), 8192);
        for (int i = 0; i < 100; i++) controller.Observe(500, i % 2 == 0 ? TimeSpan.Zero : TimeSpan.FromDays(1));
        Assert.That(controller.Budget, Is.InRange(64, 8192));
    }

    private static TimeSpan Milliseconds(double value) => TimeSpan.FromMilliseconds(value);

    /// <summary>Full steps, one in flight: a step's budget is chosen before the time of the one before it is known.</summary>
    private sealed class Simulation(int seed = 1)
    {
        private readonly Random _random = new(seed);
        private int _inFlight;

        public TokenBudgetController Controller { get; } = new(Curve, Milliseconds(Target), 8192);

        public required Func<int, double> Cost { get; set; }

        /// <summary>Standard deviation of the logarithm of a step's time.</summary>
        public double Noise { get; init; }

        public List<int> Budgets { get; } = [];

        public List<double> Times { get; } = [];

        public void Run(int steps)
        {
            for (int i = 0; i < steps; i++)
            {
                int next = Controller.Budget;
                Budgets.Add(next);
                if (_inFlight > 0)
                {
                    double normal = Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble())) * Math.Cos(2 * Math.PI * _random.NextDouble());
                    double time = Cost(_inFlight) * Math.Exp(Noise * normal);
                    Times.Add(time);
                    Controller.Observe(_inFlight, Milliseconds(time));
                }
                _inFlight = next;
            }
        }
    }
}
