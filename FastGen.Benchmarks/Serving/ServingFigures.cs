using System.Globalization;
using ScottPlot;

namespace FastGen.Benchmarks.Serving;

/// <summary>The figures of a sweep: a panel for each workload, a colour for each engine. Workloads are those of the first series.</summary>
internal sealed class ServingFigures(string folder, IReadOnlyList<RunSummary> series)
{
    private const int PanelWidth = 620, WidePanelWidth = 760, PanelHeight = 440;

    private readonly string[] _workloads = [.. series[0].Points.Select(point => point.Workload).Distinct()];
    private readonly string _loadName = series[0].Points[0].IsOpenLoop ? "requests sent a second" : "clients";

    public void SaveAll()
    {
        SaveThroughput();
        SaveEffectiveThroughput();
        SavePercentiles();
    }

    private static string TitleOf(string workload) => workload.Split(',') is [string prompt, string output] ? $"prompts of {prompt}, outputs of {output} tokens" : workload;

    // DeepSpeed-FastGen's main figure: throughput to the right, mean latency up, a point for each number of clients.
    private void SaveThroughput()
    {
        List<Plot> panels = [];
        foreach (string workload in _workloads)
        {
            Plot plot = Charts.Panel(TitleOf(workload), "throughput (requests/s)", "mean latency (s)");
            for (int i = 0; i < series.Count; i++)
            {
                Charts.Line(plot, series[i].Of(workload).Select(point => (point["req_s"], point["latency_mean"])), series[i].Label, Charts.ColorOf(i));
                foreach (LoadPoint point in series[i].Of(workload)) Mark(plot, point, i);
            }
            Charts.FromZero(plot, series.Count);
            plot.Axes.SetLimitsX(0, plot.Axes.GetLimits().Right * 1.05);
            Charts.Legend(plot, Alignment.UpperLeft);
            panels.Add(plot);
        }
        Charts.Save(Path.Combine(folder, "throughput_latency"), panels, 2, PanelWidth, PanelHeight);
    }

    private static void Mark(Plot plot, LoadPoint point, int index)
    {
        ScottPlot.Plottables.Text text = plot.Add.Text(point.Load.ToString("0.##", CultureInfo.InvariantCulture), point["req_s"], point["latency_mean"]);
        text.LabelFontSize = 11;
        text.LabelFontColor = Charts.ColorOf(index);
        text.LabelAlignment = index == 0 ? Alignment.UpperLeft : Alignment.LowerRight;
        text.OffsetX = index == 0 ? 5 : -5;
        text.OffsetY = index == 0 ? 3 : -3;
    }

    // A column for each rule: the paper's, whose three token rates are tones, and the two for today's devices.
    private void SaveEffectiveThroughput()
    {
        List<Plot> panels = [];
        foreach (string workload in _workloads)
        {
            foreach (IGrouping<int, ServiceTarget> rule in ServiceTarget.All.GroupBy(target => target.PromptRate))
            {
                Plot plot = Charts.Panel($"{TitleOf(workload)}\nfirst token in prompt/{rule.Key} s", _loadName, "effective throughput (requests/s)");
                for (int i = 0; i < series.Count; i++)
                {
                    int tone = 0;
                    foreach (ServiceTarget target in rule)
                    {
                        Charts.Line(plot, series[i].Of(workload).Select(point => (Math.Log2(point.Load), point[target.Field])), $"{series[i].Label}, {target.TokenRate} tokens/s", Charts.Tone(Charts.ColorOf(i), tone), MarkerOf(tone++));
                    }
                }
                Charts.FromZero(plot, entries: 0);
                Charts.LoadAxis(plot, series.SelectMany(each => each.Of(workload)).Select(point => point.Load));
                Charts.LegendBeside(plot);
                panels.Add(plot);
            }
        }
        Charts.Save(Path.Combine(folder, "effective_throughput"), panels, 3, WidePanelWidth, PanelHeight);
    }

    private void SavePercentiles()
    {
        List<Plot> panels = [];
        foreach (string workload in _workloads)
        {
            foreach ((string field, string words) in ((string, string)[])[("ttft_", "time to first token"), ("itl_", "time between tokens")])
            {
                Plot plot = Charts.Panel($"{TitleOf(workload)}\n{words}", _loadName, words);
                List<double> shown = [];
                for (int i = 0; i < series.Count; i++)
                {
                    for (int j = 0; j < LoadPoint.Percentiles.Count; j++)
                    {
                        // Of several engines the ends are enough.
                        if (series.Count > 1 && j > 0 && j < LoadPoint.Percentiles.Count - 1) continue;
                        string name = LoadPoint.Percentiles[j].Name;
                        (double X, double Y)[] points = [.. series[i].Of(workload).Select(point => (point.Load, point[field + name]))];
                        shown.AddRange(points.Select(point => point.Y));
                        Charts.Line(plot, points.Select(point => (Math.Log2(point.X), Math.Log10(point.Y))), $"{series[i].Label}, {name.ToUpperInvariant()}", Charts.Tone(Charts.ColorOf(i), 3 - j), MarkerOf(3 - j));
                    }
                }
                Charts.LoadAxis(plot, series.SelectMany(each => each.Of(workload)).Select(point => point.Load));
                Charts.TimeAxis(plot, shown, entries: 0);
                Charts.LegendBeside(plot);
                panels.Add(plot);
            }
        }
        Charts.Save(Path.Combine(folder, "percentiles"), panels, 2, WidePanelWidth, PanelHeight);
    }

    private static MarkerShape MarkerOf(int tone) => tone switch
    {
        0 => MarkerShape.FilledCircle,
        1 => MarkerShape.FilledSquare,
        2 => MarkerShape.FilledTriangleUp,
        _ => MarkerShape.FilledDiamond,
    };
}
