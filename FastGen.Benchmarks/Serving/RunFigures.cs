using ScottPlot;
using ScottPlot.Plottables;

namespace FastGen.Benchmarks.Serving;

/// <summary>The figures of one run: how full steps and cache are over time, and how latencies are distributed.</summary>
internal static class RunFigures
{
    private const int Width = 1100, Height = 290;

    /// <summary>Tokens a step against the budget, the cache's use, and requests that run and wait, over time.</summary>
    public static void SaveOccupancy(string file, ServingRun run, EngineStatistics engine)
    {
        double[] seconds = [.. run.Steps.Select(step => step.Seconds)];
        string title = $"{run.Point.Workload.Replace(",", " → ", StringComparison.Ordinal)}, {run.Point.Load:0.##} {(run.Point.IsOpenLoop ? "requests/s" : "clients")}";
        Plot tokens = Charts.Panel($"Forward occupancy: {title}", "time (s)", "tokens in a step");
        Scatter dots = tokens.Add.ScatterPoints(seconds, [.. run.Steps.Select(step => (double)step.Tokens)], Charts.ColorOf(0).WithAlpha(0.6));
        dots.MarkerSize = 5;
        dots.LegendText = "steps";
        Charts.Line(tokens, MovingMean(run.Steps), "mean over time", Charts.ColorOf(1), marker: MarkerShape.None);
        HorizontalLine budget = tokens.Add.HorizontalLine(engine.TokenBudget, 2, Colors.Black);
        budget.LegendText = $"budget, {engine.TokenBudget}";
        tokens.Axes.SetLimits(0, seconds[^1], 0, engine.TokenBudget * 1.3);
        Charts.Legend(tokens, Alignment.UpperRight, Orientation.Horizontal);

        Plot cache = Charts.Panel("Cache", "time (s)", "blocks in use (%)");
        Charts.Line(cache, run.Steps.Select(step => (step.Seconds, 100.0 * step.UsedBlocks / engine.TotalBlocks)), "", Charts.ColorOf(2), MarkerShape.None);
        cache.Axes.SetLimits(0, seconds[^1], 0, 105);

        Plot requests = Charts.Panel("Requests", "time (s)", "requests");
        Charts.Line(requests, run.Steps.Select(step => (step.Seconds, (double)step.Sequences)), "in the step", Charts.ColorOf(0), MarkerShape.None);
        Charts.Line(requests, run.Steps.Select(step => (step.Seconds, (double)step.Waiting)), "waiting", Charts.ColorOf(4), MarkerShape.None);
        Charts.FromZero(requests, 3);
        requests.Axes.SetLimitsX(0, seconds[^1]);
        Charts.Legend(requests, Alignment.UpperRight, Orientation.Horizontal);
        Charts.Save(file, [tokens, cache, requests], 1, Width, Height);
    }

    /// <summary>Shares of requests and of tokens that came within a time.</summary>
    public static void SaveDistribution(string file, ServingRun run)
    {
        Plot first = Distribution("Time to first token", "requests (%)", [.. run.Requests.Select(request => request.TimeToFirstToken).Order()]);
        Plot between = Distribution("Time between tokens", "tokens (%)", [.. run.Requests.SelectMany(request => request.TimesBetweenTokens).Order()]);
        Charts.Save(file, [first, between], 2, Width / 2, 400);
    }

    private static Plot Distribution(string title, string unit, double[] sorted)
    {
        const int Points = 400;
        // Tokens that a consumer saw together have no time between them; on the logarithmic axis all that is below this stands at it.
        const double Shortest = 1e-4;
        Plot plot = Charts.Panel(title, "within", unit);
        double Value(int i) => Math.Max(sorted[(int)((long)i * (sorted.Length - 1) / Points)], Shortest);
        double[] shown = [.. Enumerable.Range(0, sorted.Length == 0 ? 0 : Points + 1).Select(Value)];
        Charts.Line(plot, shown.Select((value, i) => (Math.Log10(value), 100.0 * i / Points)), "", Charts.ColorOf(0), marker: MarkerShape.None);
        Charts.HorizontalTimeAxis(plot, shown);
        plot.Axes.SetLimitsY(0, 101);
        return plot;
    }

    // Tokens a step over equal slices of the time, of five steps or more in the mean; 0 where the engine had nothing to do.
    private static IEnumerable<(double X, double Y)> MovingMean(IReadOnlyList<StepRecord> steps)
    {
        int slices = Math.Clamp(steps.Count / 5, 1, 100);
        double slice = Math.Max(steps[^1].Seconds, 1e-6) / slices;
        ILookup<int, int> tokens = steps.ToLookup(step => Math.Min((int)(step.Seconds / slice), slices - 1), step => step.Tokens);
        return Enumerable.Range(0, slices).Select(i => ((i + 0.5) * slice, tokens[i].DefaultIfEmpty(0).Average()));
    }
}
