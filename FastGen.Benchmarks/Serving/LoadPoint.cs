using System.Globalization;
using System.Text.Json;

namespace FastGen.Benchmarks.Serving;

/// <summary>
/// The summary of one run: a workload under one load. Its figures have the names that peers' figures have, so that both are drawn alike;
/// times are in seconds, rates a second.
/// </summary>
/// <param name="Workload">The workload's name.</param>
/// <param name="Load">Clients, or requests a second in an open loop.</param>
/// <param name="IsOpenLoop">Whether <paramref name="Load"/> is a rate.</param>
/// <param name="Figures">By name.</param>
internal sealed record LoadPoint(string Workload, double Load, bool IsOpenLoop, IReadOnlyDictionary<string, double> Figures)
{
    /// <summary>How steps were filled (<see cref="StepPolicy.Name"/>); null for a peer, which has its own way.</summary>
    public string? Policy { get; init; }

    /// <summary>A figure; NaN where the run has none of that name.</summary>
    public double this[string name] => Figures.GetValueOrDefault(name, double.NaN);

    public static LoadPoint Summarize(string workload, double load, bool isOpenLoop, IReadOnlyList<MeasuredRequest> requests, IReadOnlyList<StepRecord> steps, EngineStatistics before, EngineStatistics after)
    {
        double elapsed = requests.Max(request => request.TokenTimes[^1]) - requests.Min(request => request.Arrival);
        double latency = requests.Average(request => request.Latency);
        double[] first = [.. requests.Select(request => request.TimeToFirstToken).Order()];
        double[] between = [.. requests.SelectMany(request => request.TimesBetweenTokens).Order()];
        Dictionary<string, double> figures = new()
        {
            ["requests"] = requests.Count,
            ["req_s"] = requests.Count / elapsed,
            ["latency_mean"] = latency,
            ["tpot_mean"] = requests.Where(request => request.TokenTimes.Length > 1).Select(request => (request.TokenTimes[^1] - request.TokenTimes[0]) / (request.TokenTimes.Length - 1)).DefaultIfEmpty(double.NaN).Average(),
            ["gen_tok_s"] = requests.Sum(request => request.TokenTimes.Length) / elapsed,
            ["in_tok_s"] = requests.Sum(request => request.Plan.PromptTokens) / elapsed,
            ["steps"] = after.Steps - before.Steps,
            ["step_tokens_mean"] = steps.Average(step => step.Tokens),
            ["step_sequences_mean"] = steps.Average(step => step.Sequences),
            ["budget"] = after.TokenBudget,
            ["occupancy"] = steps.Average(step => step.Tokens) / after.TokenBudget,
            ["cache_mean"] = steps.Average(step => step.UsedBlocks) / after.TotalBlocks,
            ["cache_peak"] = steps.Max(step => step.UsedBlocks) / (double)after.TotalBlocks,
            ["preemptions"] = after.Preemptions - before.Preemptions,
            ["computed_tokens"] = after.ComputedTokens - before.ComputedTokens,
        };
        // The seed's throughput: what the clients would complete at this mean latency without a ramp at either end.
        if (!isOpenLoop) figures["req_s_by_latency"] = load / latency;
        foreach ((string name, double share) in Percentiles)
        {
            figures["ttft_" + name] = Percentile(first, share);
            figures["itl_" + name] = Percentile(between, share);
        }
        foreach (ServiceTarget target in ServiceTarget.All) figures[target.Field] = requests.Count(target.IsMetBy) / elapsed;
        return new LoadPoint(workload, load, isOpenLoop, figures);
    }

    public static IReadOnlyList<(string Name, double Share)> Percentiles { get; } = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("kind", "sweep");
        json.WriteString("workload", Workload);
        json.WriteNumber(IsOpenLoop ? "rate" : "clients", Load);
        if (Policy is not null) json.WriteString("policy", Policy);
        foreach ((string name, double value) in Figures)
        {
            if (double.IsFinite(value)) json.WriteNumber(name, value);
        }
        json.WriteEndObject();
    }

    /// <summary>Reads a sweep line of a summary, a peer's or our own.</summary>
    /// <exception cref="ArgumentException">It lacks its workload or load.</exception>
    public static LoadPoint Read(JsonElement line)
    {
        bool isOpenLoop = line.TryGetProperty("rate", out JsonElement load);
        if (!line.TryGetProperty("workload", out JsonElement workload) || (!isOpenLoop && !line.TryGetProperty("clients", out load))) throw new ArgumentException($"A sweep line has no workload, or neither clients nor rate: {line}");
        Dictionary<string, double> figures = line.EnumerateObject().Where(field => field.Value.ValueKind == JsonValueKind.Number).ToDictionary(field => field.Name, field => field.Value.GetDouble());
        return new LoadPoint(workload.GetString()!, load.GetDouble(), isOpenLoop, figures) { Policy = line.TryGetProperty("policy", out JsonElement policy) ? policy.GetString() : null };
    }

    public static string TableHead { get; } = string.Create(CultureInfo.InvariantCulture,
        $"{"workload",-16} {"load",6} {"req/s",7} {"n/lat",7} {"latency",8} {"first P50",9} {"P99 s",7} {"next P50",8} {"P95",6} {"P99 ms",7} {"gen/s",7}  {string.Join(' ', ServiceTarget.All.Select(target => $"{target.PromptRate}/{target.TokenRate}".PadLeft(7)))} {"step",6} {"occup.",6} {"cache",6} {"restarts",8}");

    public string TableRow() => string.Create(CultureInfo.InvariantCulture,
        $"{Shorten(Workload),-16} {Load,6:0.##} {this["req_s"],7:F2} {(IsOpenLoop ? "-" : this["req_s_by_latency"].ToString("F2", CultureInfo.InvariantCulture)),7} {this["latency_mean"],8:F3} {this["ttft_p50"],9:F3} {this["ttft_p99"],7:F3} {1000 * this["itl_p50"],8:F1} {1000 * this["itl_p95"],6:F1} {1000 * this["itl_p99"],7:F1} {this["gen_tok_s"],7:F0}  {string.Join(' ', ServiceTarget.All.Select(target => this[target.Field].ToString("F2", CultureInfo.InvariantCulture).PadLeft(7)))} {this["step_tokens_mean"],6:F0} {this["occupancy"],6:P0} {this["cache_peak"],6:P0} {this["preemptions"],8:F0}");

    private static string Shorten(string name) => name.Length <= 16 ? name : name[^16..];

    // As the peers' scripts take it: no interpolation.
    private static double Percentile(double[] sorted, double share) => sorted.Length == 0 ? double.NaN : sorted[Math.Min(sorted.Length - 1, (int)(share * sorted.Length))];
}
