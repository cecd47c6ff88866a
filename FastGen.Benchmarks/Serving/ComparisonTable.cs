using System.Globalization;
using System.Text;

namespace FastGen.Benchmarks.Serving;

/// <summary>The first run against the others as a table in Markdown: a row for each load, a cell for each figure with all runs' values, and how often the first is at least as good.</summary>
internal static class ComparisonTable
{
    private static readonly (string Field, string Words, bool IsTime)[] Columns =
    [
        ("req_s", "requests/s", false),
        ("latency_mean", "mean latency (s)", true),
        ("ttft_p50", "first token, P50 (s)", true),
        ("ttft_p99", "first token, P99 (s)", true),
        ("itl_p99", "between tokens, P99 (ms)", true),
        .. ServiceTarget.All.Where(target => target.TokenRate is 4 or > 6).Select(target => (target.Field, $"within prompt/{target.PromptRate} s and {target.TokenRate} tokens/s", false)),
    ];

    public static string Write(IReadOnlyList<RunSummary> runs)
    {
        StringBuilder table = new();
        table.AppendLine(CultureInfo.InvariantCulture, $"Each cell: {string.Join(" / ", runs.Select(run => run.Label))}.");
        table.AppendLine();
        table.AppendLine($"| prompt, output | clients | {string.Join(" | ", Columns.Select(column => column.Words))} |");
        table.AppendLine($"|---|---|{string.Concat(Columns.Select(_ => "---|"))}");
        foreach (LoadPoint point in runs[0].Points.OrderByDescending(PromptMean).ThenBy(point => point.Workload, StringComparer.Ordinal).ThenBy(point => point.Load))
        {
            LoadPoint?[] all = [.. runs.Select(run => Find(run, point))];
            table.AppendLine(CultureInfo.InvariantCulture, $"| {point.Workload} | {point.Load:0.##} | {string.Join(" | ", Columns.Select(column => string.Join(" / ", all.Select(each => Text(column.Field, each)))))} |");
        }
        foreach (RunSummary rival in runs.Skip(1))
        {
            table.AppendLine();
            table.AppendLine(CultureInfo.InvariantCulture, $"{runs[0].Label} is at least as good as {rival.Label} in {string.Join(", ", Columns.Select(column => Count(runs[0], rival, column.Field, column.IsTime) + $" ({column.Words})"))}.");
        }
        return table.ToString();
    }

    private static int PromptMean(LoadPoint point) => int.TryParse(point.Workload.Split(',')[0], NumberStyles.None, CultureInfo.InvariantCulture, out int mean) ? mean : 0;

    private static LoadPoint? Find(RunSummary run, LoadPoint point) => run.Points.FirstOrDefault(other => other.Workload == point.Workload && other.Load == point.Load);

    private static string Count(RunSummary ours, RunSummary rival, string field, bool isTime)
    {
        (double Ours, double Theirs)[] pairs = [.. ours.Points.Select(point => (point[field], Find(rival, point)?[field] ?? double.NaN)).Where(pair => !double.IsNaN(pair.Item2))];
        return $"{pairs.Count(pair => isTime ? pair.Ours <= pair.Theirs : pair.Ours >= pair.Theirs)} of {pairs.Length}";
    }

    private static string Text(string field, LoadPoint? point)
    {
        double value = point?[field] ?? double.NaN;
        return double.IsNaN(value) ? "–" : field switch
        {
            "latency_mean" => value.ToString("F2", CultureInfo.InvariantCulture),
            "ttft_p50" or "ttft_p99" => value.ToString("F3", CultureInfo.InvariantCulture),
            "itl_p99" => (1000 * value).ToString("F1", CultureInfo.InvariantCulture),
            _ => value.ToString(value < 10 ? "F2" : "F1", CultureInfo.InvariantCulture),
        };
    }
}
