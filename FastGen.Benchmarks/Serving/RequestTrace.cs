using System.Globalization;
using System.Text.Json;

namespace FastGen.Benchmarks.Serving;

/// <summary>
/// Request lengths and arrivals from a file: Azure's CSV (TIMESTAMP,ContextTokens,GeneratedTokens), a CSV with num_prefill_tokens and num_decode_tokens,
/// or JSON lines with the fields of Mooncake, of ShareGPT as token ids, or of this benchmark's own requests.jsonl.
/// </summary>
internal sealed record RequestTrace(string Name, IReadOnlyList<RequestPlan> Requests, bool HasArrivals)
{
    private static readonly (string Arrival, double Unit, string Prompt, string Output)[] JsonForms =
    [
        ("timestamp", 1e-3, "input_length", "output_length"),
        ("arrival_time_ns", 1e-9, "input_toks", "output_toks"),
        ("arrival", 1, "prompt_tokens", "output_tokens"),
    ];

    /// <exception cref="ArgumentException">There is no such file, or it has another form.</exception>
    public static RequestTrace Read(string file)
    {
        string path = Find(file);
        string first = File.ReadLines(path).FirstOrDefault() ?? throw new ArgumentException($"{path}: is empty.");
        List<(double Arrival, int Prompt, int Output)> rows = [.. first.StartsWith('{') ? ReadJson(path) : ReadCsv(path, first)];
        if (rows.Count == 0) throw new ArgumentException($"{path}: has no requests.");
        bool hasArrivals = !double.IsNaN(rows[0].Arrival);
        double start = hasArrivals ? rows.Min(row => row.Arrival) : 0;
        RequestPlan[] plans = [.. rows.OrderBy(row => row.Arrival).Select((row, i) => new RequestPlan(i, hasArrivals ? row.Arrival - start : 0, row.Prompt, row.Output))];
        return new RequestTrace(Path.GetFileNameWithoutExtension(path), plans, hasArrivals);
    }

    private static string Find(string file)
    {
        if (File.Exists(file)) return file;
        string? kit = Environment.GetEnvironmentVariable("FASTGEN_CONFORMANCE");
        string path = Path.Combine(kit ?? "", "traces", file);
        if (kit is not null && File.Exists(path)) return path;
        throw new ArgumentException($"--trace {file}: there is no such file, nor {(kit is null ? "a folder of traces (set FASTGEN_CONFORMANCE)" : path)}.");
    }

    private static IEnumerable<(double Arrival, int Prompt, int Output)> ReadCsv(string path, string header)
    {
        string[] names = header.Split(',');
        int arrival = Array.IndexOf(names, "TIMESTAMP");
        int prompt = arrival >= 0 ? Array.IndexOf(names, "ContextTokens") : Array.IndexOf(names, "num_prefill_tokens");
        int output = arrival >= 0 ? Array.IndexOf(names, "GeneratedTokens") : Array.IndexOf(names, "num_decode_tokens");
        if (prompt < 0 || output < 0) throw new ArgumentException($"{path}: its first line, {header}, names no known form: TIMESTAMP,ContextTokens,GeneratedTokens or num_prefill_tokens,num_decode_tokens.");
        int number = 1;
        foreach (string line in File.ReadLines(path).Skip(1))
        {
            number++;
            if (line.Length == 0) continue;
            string[] cells = line.Split(',');
            if (cells.Length != names.Length || !int.TryParse(cells[prompt], out int promptTokens) || !int.TryParse(cells[output], out int outputTokens)) throw new ArgumentException($"{path}: line {number} is not as the first one says: {line}");
            yield return (arrival < 0 ? double.NaN : Seconds(cells[arrival], path, number), promptTokens, outputTokens);
        }
    }

    private static double Seconds(string text, string path, int line) =>
        DateTime.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTime time) ? time.Ticks / (double)TimeSpan.TicksPerSecond : throw new ArgumentException($"{path}: line {line} has the time {text}.");

    private static IEnumerable<(double Arrival, int Prompt, int Output)> ReadJson(string path)
    {
        int number = 0;
        foreach (string line in File.ReadLines(path))
        {
            number++;
            if (line.Length == 0) continue;
            yield return ReadJsonLine(line, path, number);
        }
    }

    private static (double Arrival, int Prompt, int Output) ReadJsonLine(string line, string path, int number)
    {
        using JsonDocument document = JsonDocument.Parse(line);
        foreach ((string arrival, double unit, string prompt, string output) in JsonForms)
        {
            if (!document.RootElement.TryGetProperty(prompt, out JsonElement promptTokens) || !document.RootElement.TryGetProperty(output, out JsonElement outputTokens)) continue;
            double at = document.RootElement.TryGetProperty(arrival, out JsonElement time) ? time.GetDouble() * unit : double.NaN;
            return (at, promptTokens.GetInt32(), outputTokens.GetInt32());
        }
        throw new ArgumentException($"{path}: line {number} has no known pair of lengths: {string.Join(" or ", JsonForms.Select(form => $"{form.Prompt} and {form.Output}"))}.");
    }
}
