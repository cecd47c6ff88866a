using System.Globalization;
using System.Text.Json;

namespace FastGen.Benchmarks.Serving;

/// <summary>What a summary file holds: on what and when it was measured, the calibrated curve, and the points. Peers' files have the points at least.</summary>
/// <param name="Label">Who was measured.</param>
/// <param name="Device">The device in words; empty where the file does not say.</param>
/// <param name="Date">When; empty where the file does not say.</param>
/// <param name="Curve">Steps of one prompt.</param>
/// <param name="Points">By the order of their measurement.</param>
internal sealed record RunSummary(string Label, string Device, string Date, IReadOnlyList<CalibrationPoint> Curve, IReadOnlyList<LoadPoint> Points)
{
    /// <summary>True if several policies were measured under one load.</summary>
    public bool IsStudy => Points.Select(point => point.Policy).Distinct().Count() > 1;

    /// <summary>The points of a workload by growing load.</summary>
    public IEnumerable<LoadPoint> Of(string workload) => Points.Where(point => point.Workload == workload).OrderBy(point => point.Load);

    public static void WriteRun(Utf8JsonWriter json, ServeOptions options, ServingEngine serving)
    {
        EngineStatistics engine = serving.Engine.Statistics;
        json.WriteStartObject();
        json.WriteString("kind", "run");
        json.WriteString("label", options.Label);
        json.WriteString("device", serving.Backend.Description);
        json.WriteString("model", options.Shape ?? Path.GetFileName(options.Model));
        json.WriteString("date", DateTime.UtcNow.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture));
        json.WriteNumber("budget", engine.TokenBudget);
        json.WriteNumber("cache_tokens", engine.TotalBlocks * (long)engine.BlockSize);
        json.WriteNumber("seed", options.Seed);
        json.WriteEndObject();
    }

    public static void WriteStep(Utf8JsonWriter json, CalibrationPoint point)
    {
        json.WriteStartObject();
        json.WriteString("kind", "step");
        json.WriteNumber("tokens", point.Tokens);
        json.WriteNumber("seconds", point.Duration.TotalSeconds);
        json.WriteEndObject();
    }

    /// <summary>Reads a summary; it is named as its run line says unless <paramref name="label"/> does.</summary>
    /// <exception cref="ArgumentException">The file is missing, has a broken line or no points.</exception>
    public static RunSummary Read(string file, string? label = null)
    {
        if (!File.Exists(file)) throw new ArgumentException($"{file}: there is no such file.");
        string device = "", date = "";
        List<CalibrationPoint> curve = [];
        List<LoadPoint> points = [];
        foreach (string line in File.ReadLines(file))
        {
            // Peers print other things between.
            if (!line.StartsWith('{')) continue;
            using JsonDocument document = Parse(line, file);
            JsonElement root = document.RootElement;
            string Text(string name) => root.TryGetProperty(name, out JsonElement value) ? value.ToString() : "";
            switch (Text("kind"))
            {
                case "run":
                    label ??= Text("label");
                    (device, date) = (Text("device"), Text("date"));
                    break;
                case "step":
                    curve.Add(new CalibrationPoint(root.GetProperty("tokens").GetInt32(), TimeSpan.FromSeconds(root.GetProperty("seconds").GetDouble())));
                    break;
                case "sweep":
                    points.Add(LoadPoint.Read(root));
                    break;
            }
        }
        if (points.Count == 0) throw new ArgumentException($"{file}: has no sweep lines.");
        return new RunSummary(label ?? Path.GetFileNameWithoutExtension(file), device, date, curve, points);
    }

    private static JsonDocument Parse(string line, string file)
    {
        try
        {
            return JsonDocument.Parse(line);
        }
        catch (JsonException exception)
        {
            throw new ArgumentException($"{file}: a line is no JSON ({exception.Message}): {line}", exception);
        }
    }
}
