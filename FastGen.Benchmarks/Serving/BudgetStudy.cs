using System.Globalization;
using ScottPlot;

namespace FastGen.Benchmarks.Serving;

/// <summary>
/// One workload under several token budgets: what DeepSpeed-FastGen's figure of throughput against tokens in a forward pass is to a step,
/// and what the budget does to requests. A budget of the longest prompt or more cuts no prompt: there SplitFuse is off.
/// </summary>
internal static class BudgetStudy
{
    public static int Run(ServeOptions options)
    {
        int clients = options.Clients[^1];
        (int promptMean, int outputMean) = options.Lengths.First();
        int sequences = options.Sequences ?? Math.Max(64, clients);
        IReadOnlyList<CalibrationPoint> curve = options.Budgets.Count > 1 ? [] : MeasureSteps(options, sequences);
        List<LoadPoint> points = [];
        using ResultFiles files = new(options.Output);
        foreach (int budget in options.Budgets.Count > 0 ? options.Budgets : [.. curve.Select(point => point.Tokens)])
        {
            using ServingEngine serving = ServingEngine.Load(options, budget, sequences);
            if (points.Count == 0)
            {
                ServeBenchmark.Describe(options, serving);
                Console.WriteLine($"{promptMean} → {outputMean} tokens, {clients} clients; the load is the budget");
                Console.WriteLine(LoadPoint.TableHead);
            }
            Workload workload = Workload.Normal(promptMean, outputMean, options.Requests ?? ServeBenchmark.RequestsFor(clients, outputMean), serving.LongestRequest, options.Seed);
            LoadGenerator generator = new(serving);
            generator.WarmUpAsync(workload, clients).GetAwaiter().GetResult();
            ServingRun run = generator.MeasureAsync(workload, clients, isOpenLoop: false).GetAwaiter().GetResult();
            files.Add(run);
            points.Add(run.Point);
            Console.WriteLine((run.Point with { Load = budget }).TableRow());
        }
        if (Charts.CanDraw) Draw(options, curve, points, $"{promptMean} → {outputMean} tokens, {clients} clients");
        Console.WriteLine($"wrote {options.Output}");
        return 0;
    }

    private static IReadOnlyList<CalibrationPoint> MeasureSteps(ServeOptions options, int sequences)
    {
        using ServingEngine serving = ServingEngine.Load(options, budget: null, sequences);
        Console.WriteLine($"{"tokens in a step",16} {"ms",9} {"tokens/s",10}");
        foreach (CalibrationPoint point in serving.Engine.Calibration!.Curve)
        {
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{point.Tokens,16} {point.Duration.TotalMilliseconds,9:F2} {point.TokensPerSecond,10:F0}{(point.Tokens == serving.Engine.TokenBudget ? "  the default" : "")}"));
        }
        return serving.Engine.Calibration.Curve;
    }

    private static void Draw(ServeOptions options, IReadOnlyList<CalibrationPoint> curve, List<LoadPoint> points, string load)
    {
        List<Plot> panels = [];
        if (curve.Count > 0)
        {
            Plot steps = Charts.Panel("Throughput of a forward pass", "tokens in a step", "tokens/s");
            Charts.Line(steps, curve.Select(point => (Math.Log2(point.Tokens), point.TokensPerSecond)), "", Charts.ColorOf(0));
            Charts.FromZero(steps, 0);
            Charts.LoadAxis(steps, curve.Select(point => (double)point.Tokens));
            panels.Add(steps);
        }
        Plot throughput = Charts.Panel($"Throughput\n{load}", "token budget", "requests/s");
        Charts.Line(throughput, points.Select(point => (Math.Log2(point["budget"]), point["req_s"])), "", Charts.ColorOf(0));
        Charts.FromZero(throughput, 0);
        Charts.LoadAxis(throughput, points.Select(point => point["budget"]));
        panels.Add(throughput);

        Plot latency = Charts.Panel($"Latency\n{load}", "token budget", "time");
        (string Field, string Words)[] lines = [("ttft_p50", "first token, P50"), ("ttft_p99", "first token, P99"), ("itl_p50", "between tokens, P50"), ("itl_p99", "between tokens, P99")];
        for (int i = 0; i < lines.Length; i++)
        {
            string field = lines[i].Field;
            Charts.Line(latency, points.Select(point => (Math.Log2(point["budget"]), Math.Log10(point[field]))), lines[i].Words, Charts.Tone(Charts.ColorOf(i / 2), 2 * (1 - (i % 2))));
        }
        Charts.LoadAxis(latency, points.Select(point => point["budget"]));
        Charts.TimeAxis(latency, points.SelectMany(point => lines.Select(line => point[line.Field])), lines.Length);
        Charts.Legend(latency, Alignment.UpperRight);
        panels.Add(latency);
        Charts.Save(Path.Combine(options.Output, "budget"), panels, 3, 560, 440);
    }
}
