using System.Text.Json;

namespace FastGen.Benchmarks.Serving;

/// <summary>A request to send: when, counted from the start, and how long it is.</summary>
internal readonly record struct RequestPlan(int Index, double ArrivalSeconds, int PromptTokens, int OutputTokens);

/// <summary>Requests to send, under a name.</summary>
/// <param name="Name">As in the peers' figures: mean lengths "prompt,output", or a trace's file.</param>
/// <param name="Requests">By arrival.</param>
/// <param name="Seed">Of the prompts' token ids.</param>
internal sealed record Workload(string Name, IReadOnlyList<RequestPlan> Requests, int Seed)
{
    /// <summary>Share of the mean that one standard deviation is, in DeepSpeed-FastGen's benchmark.</summary>
    private const double LengthSpread = 0.3;

    /// <summary>Whether tokens are read as they come; false for what an application gives at once and takes at the end.</summary>
    public bool IsStreamed { get; init; } = true;

    /// <summary>Normally distributed lengths; without arrivals, for a closed loop.</summary>
    public static Workload Normal(int promptMean, int outputMean, int requests, int longestRequest, int seed)
    {
        Random random = new(seed);
        RequestPlan[] plans = new RequestPlan[requests];
        for (int i = 0; i < requests; i++)
        {
            int Draw(int mean) => Math.Max(2, (int)(mean + (LengthSpread * mean * StandardNormal(random))));
            plans[i] = Clamp(new RequestPlan(i, 0, Draw(promptMean), Draw(outputMean)), longestRequest);
        }
        return new Workload($"{promptMean},{outputMean}", plans, seed);
    }

    /// <summary>Lengths and arrivals of a trace, <paramref name="timeCompression"/> times as fast, cut to what the engine can take.</summary>
    public static Workload FromTrace(RequestTrace trace, double timeCompression, int? requests, int longestRequest, int seed) =>
        new(trace.Name, [.. trace.Requests.Take(requests ?? int.MaxValue).Select(plan => Clamp(plan with { ArrivalSeconds = plan.ArrivalSeconds / timeCompression }, longestRequest))], seed);

    /// <summary>The same requests at the instants of a Poisson process.</summary>
    public Workload WithPoissonArrivals(double rate)
    {
        Random random = new(Seed + 1);
        double at = 0;
        return this with { Requests = [.. Requests.Select(plan => plan with { ArrivalSeconds = at += -Math.Log(1 - random.NextDouble()) / rate })] };
    }

    /// <summary>The prompt of a request: random ids, others for each request, so that no two share a prefix.</summary>
    public int[] Prompt(RequestPlan plan, int vocabulary)
    {
        Random random = new(unchecked((Seed * 1_000_003) + plan.Index));
        int[] ids = new int[plan.PromptTokens];
        for (int i = 0; i < ids.Length; i++) ids[i] = random.Next(Math.Min(10, vocabulary / 2), vocabulary);
        return ids;
    }

    /// <summary>Writes the lengths for a peer's script.</summary>
    public void Write(Utf8JsonWriter json, double clients)
    {
        json.WriteStartObject();
        json.WriteString("workload", Name);
        json.WriteNumber("clients", clients);
        json.WriteNumber("seed", Seed);
        json.WriteStartArray("requests");
        foreach (RequestPlan plan in Requests)
        {
            json.WriteStartArray();
            json.WriteNumberValue(plan.PromptTokens);
            json.WriteNumberValue(plan.OutputTokens);
            json.WriteEndArray();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>Reads what <see cref="Write"/> wrote: workloads and the numbers of clients that send them.</summary>
    /// <exception cref="ArgumentException">There is no such file, or a line is no load.</exception>
    public static IEnumerable<(Workload Workload, double Clients)> ReadAll(string file, int longestRequest)
    {
        if (!File.Exists(file)) throw new ArgumentException($"--loads {file}: there is no such file.");
        foreach (string line in File.ReadLines(file))
        {
            if (line.Length == 0) continue;
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement root = document.RootElement;
            if (!root.TryGetProperty("workload", out JsonElement name) || !root.TryGetProperty("clients", out JsonElement clients) || !root.TryGetProperty("requests", out JsonElement requests))
            {
                throw new ArgumentException($"{file}: a line has no workload, clients or requests: {line[..Math.Min(80, line.Length)]}");
            }
            RequestPlan[] plans = [.. requests.EnumerateArray().Select((pair, i) => Clamp(new RequestPlan(i, 0, pair[0].GetInt32(), pair[1].GetInt32()), longestRequest))];
            yield return (new Workload(name.GetString()!, plans, root.TryGetProperty("seed", out JsonElement seed) ? seed.GetInt32() : 1), clients.GetDouble());
        }
    }

    // The output keeps at most half of the room.
    private static RequestPlan Clamp(RequestPlan plan, int longestRequest)
    {
        int prompt = Math.Clamp(plan.PromptTokens, 1, longestRequest - Math.Min(plan.OutputTokens, longestRequest / 2));
        return plan with { PromptTokens = prompt, OutputTokens = Math.Clamp(plan.OutputTokens, 1, longestRequest - prompt) };
    }

    private static double StandardNormal(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
