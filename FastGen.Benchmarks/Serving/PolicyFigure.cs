using ScottPlot;

namespace FastGen.Benchmarks.Serving;

/// <summary>The figure of a study of policies: a forward pass by its size, and throughput and times by the token budget, with the other policies as levels.</summary>
internal static class PolicyFigure
{
    private static readonly (string Field, string Words)[] Times = [("itl_p50", "between tokens, P50"), ("itl_p99", "between tokens, P99"), ("ttft_p50", "first token, P50"), ("ttft_p99", "first token, P99")];

    public static void Save(string folder, RunSummary study)
    {
        LoadPoint first = study.Points[0];
        string load = $"{first.Workload.Replace(",", " → ", StringComparison.Ordinal)} tokens, {first.Load:0.##} clients";
        List<Plot> panels = [];
        if (study.Curve.Count > 0) panels.Add(Steps(study.Curve, first["budget"]));
        panels.Add(Throughput(study, load));
        panels.Add(Latency(study, load));
        Charts.Save(Path.Combine(folder, "policy"), panels, panels.Count, 560, 460);
    }

    private static IEnumerable<LoadPoint> Budgets(RunSummary study) => study.Points.Where(point => point.Policy is { } policy && (policy == StepPolicy.Default.Name || policy.EndsWith(" tokens", StringComparison.Ordinal))).OrderBy(point => point["budget"]);

    private static IEnumerable<LoadPoint> Others(RunSummary study) => study.Points.Except(Budgets(study));

    private static Plot Steps(IReadOnlyList<CalibrationPoint> curve, double chosen)
    {
        Plot plot = Charts.Panel("Throughput of a forward pass", "tokens in a step", "tokens/s");
        Charts.Line(plot, curve.Select(point => (Math.Log2(point.Tokens), point.TokensPerSecond)), "", Charts.ColorOf(0));
        Charts.FromZero(plot, 1);
        Charts.LoadAxis(plot, curve.Select(point => (double)point.Tokens).Where(tokens => double.IsPow2(tokens)));
        plot.Add.VerticalLine(Math.Log2(chosen), 2, Colors.Black).LegendText = $"default, {chosen:0}";
        Charts.Legend(plot, Alignment.LowerRight);
        return plot;
    }

    private static Plot Throughput(RunSummary study, string load)
    {
        Plot plot = Charts.Panel($"Throughput\n{load}", "token budget", "requests/s");
        (string Field, string Words)[] lines = [("req_s", "all requests"), .. ServiceTarget.All.Where(target => target.TokenRate is 4 or > 6).Select(target => (target.Field, $"first in prompt/{target.PromptRate} s, {target.TokenRate} tokens/s"))];
        for (int i = 0; i < lines.Length; i++)
        {
            string field = lines[i].Field;
            Charts.Line(plot, Budgets(study).Select(point => (Math.Log2(point["budget"]), point[field])), lines[i].Words, Charts.ColorOf(i));
        }
        Levels(plot, study, "req_s", value => value);
        Charts.FromZero(plot, lines.Length + Others(study).Count() + 1);
        Charts.LoadAxis(plot, Budgets(study).Select(point => point["budget"]));
        Charts.Legend(plot, Alignment.UpperLeft);
        return plot;
    }

    private static Plot Latency(RunSummary study, string load)
    {
        Plot plot = Charts.Panel($"Latency\n{load}", "token budget", "time");
        for (int i = 0; i < Times.Length; i++)
        {
            string field = Times[i].Field;
            Charts.Line(plot, Budgets(study).Select(point => (Math.Log2(point["budget"]), Math.Log10(point[field]))), Times[i].Words, Charts.Tone(Charts.ColorOf(i / 2), 2 * (1 - (i % 2))));
        }
        Levels(plot, study, "itl_p99", Math.Log10, ", between tokens, P99");
        Charts.LoadAxis(plot, Budgets(study).Select(point => point["budget"]));
        Charts.TimeAxis(plot, study.Points.SelectMany(point => Times.Select(time => point[time.Field])), Times.Length + Others(study).Count());
        Charts.Legend(plot, Alignment.UpperLeft);
        return plot;
    }

    private static void Levels(Plot plot, RunSummary study, string field, Func<double, double> scale, string what = "")
    {
        int color = 4;
        foreach (LoadPoint point in Others(study)) plot.Add.HorizontalLine(scale(point[field]), 2, Charts.ColorOf(color++)).LegendText = point.Policy + what;
    }
}
