using System.Text.Json;

namespace FastGen.Benchmarks.Serving;

/// <summary>The JSON lines of a run: summary.jsonl a point a line, requests.jsonl a request a line (a trace that can be replayed, where the run had one load), steps.jsonl a step a line.</summary>
internal sealed class ResultFiles : IDisposable
{
    private readonly StreamWriter _summary, _requests, _steps;

    public ResultFiles(string folder)
    {
        Directory.CreateDirectory(folder);
        _summary = new StreamWriter(Path.Combine(folder, "summary.jsonl")) { NewLine = "\n" };
        _requests = new StreamWriter(Path.Combine(folder, "requests.jsonl")) { NewLine = "\n" };
        _steps = new StreamWriter(Path.Combine(folder, "steps.jsonl")) { NewLine = "\n" };
    }

    /// <summary>Says on what the points that follow were measured.</summary>
    public void Begin(ServeOptions options, ServingEngine serving)
    {
        Line(_summary, json => RunSummary.WriteRun(json, options, serving));
        foreach (CalibrationPoint point in serving.Engine.Calibration?.Curve ?? []) Line(_summary, json => RunSummary.WriteStep(json, point));
        _summary.Flush();
    }

    /// <summary>Adds a line of another kind to the summary.</summary>
    public void Add(Action<Utf8JsonWriter> write)
    {
        Line(_summary, write);
        _summary.Flush();
    }

    public void Add(ServingRun run)
    {
        Line(_summary, run.Point.Write);
        _summary.Flush();
        foreach (MeasuredRequest request in run.Requests.OrderBy(request => request.Plan.Index)) Line(_requests, json => Write(json, run.Point, request));
        foreach (StepRecord step in run.Steps) Line(_steps, json => Write(json, run.Point, step));
        _requests.Flush();
        _steps.Flush();
    }

    public void Dispose()
    {
        _summary.Dispose();
        _requests.Dispose();
        _steps.Dispose();
    }

    private static void Write(Utf8JsonWriter json, LoadPoint point, MeasuredRequest request)
    {
        json.WriteStartObject();
        json.WriteString("workload", point.Workload);
        json.WriteNumber("load", point.Load);
        json.WriteNumber("request", request.Plan.Index);
        json.WriteNumber("arrival", Microseconds(request.Arrival));
        json.WriteNumber("prompt_tokens", request.Plan.PromptTokens);
        json.WriteNumber("output_tokens", request.Plan.OutputTokens);
        json.WriteNumber("first_token", Microseconds(request.TokenTimes[0]));
        json.WriteStartArray("token_times");
        foreach (double time in request.TokenTimes) json.WriteNumberValue(Microseconds(time));
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, LoadPoint point, StepRecord step)
    {
        json.WriteStartObject();
        json.WriteString("workload", point.Workload);
        json.WriteNumber("load", point.Load);
        json.WriteNumber("time", Microseconds(step.Seconds));
        json.WriteNumber("tokens", step.Tokens);
        json.WriteNumber("sequences", step.Sequences);
        json.WriteNumber("used_blocks", step.UsedBlocks);
        json.WriteNumber("waiting", step.Waiting);
        json.WriteEndObject();
    }

    private static decimal Microseconds(double seconds) => Math.Round((decimal)seconds, 6);

    private static void Line(StreamWriter writer, Action<Utf8JsonWriter> write)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter json = new(buffer)) write(json);
        writer.WriteLine(System.Text.Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length));
    }
}
