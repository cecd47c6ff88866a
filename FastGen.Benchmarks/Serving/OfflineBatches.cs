using System.Globalization;
using System.Text.Json;

namespace FastGen.Benchmarks.Serving;

/// <summary>
/// Batches that are there at once, through the engine, as peers' offline benchmarks send them: decodes while all generate, prompts to their first
/// token, and requests from end to end. The best of a few.
/// </summary>
internal sealed class OfflineBatches(LoadGenerator generator, ResultFiles files, int longestRequest, int sequences, int seed)
{
    private static readonly (int Batch, int Context)[] Decodes = [(1, 512), (8, 512), (32, 512), (64, 512), (128, 512), (64, 1024), (32, 4000)];

    private static readonly (int Prompts, int Tokens)[] Prompts = [(1, 512), (1, 2048), (16, 2048), (64, 512), (4, 8000)];

    // A prompt as long as the context leaves this many tokens, for every engine.
    private const int Margin = 8;

    /// <summary>Runs them all, or of the decodes only those of <paramref name="decodes"/> sequences.</summary>
    public void Run(IReadOnlyList<int>? decodes)
    {
        foreach ((int batch, int context) in Decodes.Where(each => each.Batch <= sequences && each.Context + 128 <= longestRequest && decodes?.Contains(each.Batch) != false))
        {
            Print($"decode of {batch}, context {context}", Best(2, batch, context, 128, DecodeRate), "tok/s", json => Write(json, "decode", ("batch", batch), ("context", context)));
        }
        foreach ((int prompts, int most) in Prompts.Where(each => each.Prompts <= sequences && each.Tokens <= longestRequest))
        {
            int tokens = Math.Min(most, longestRequest - Margin);
            Print($"{prompts} prompts of {tokens}", Best(3, prompts, tokens, 1, requests => prompts * tokens / Elapsed(requests)), "tok/s", json => Write(json, "prompt", ("prompts", prompts), ("tokens", tokens)));
        }
        if (sequences >= 128) Print("128 requests of 600 → 128", Best(2, 128, 600, 128, requests => 128 * 128 / Elapsed(requests)), "generated tok/s", json => Write(json, "offline", ("requests", 128), ("n_in", 600)));
    }

    private double Best(int times, int count, int prompt, int output, Func<IReadOnlyList<MeasuredRequest>, double> rate)
    {
        double best = 0;
        for (int i = 0; i < times; i++)
        {
            Workload workload = new($"{prompt},{output}", [.. Enumerable.Range(0, count).Select(index => new RequestPlan(index, 0, prompt, output))], seed + i) { IsStreamed = false };
            best = Math.Max(best, rate(generator.MeasureAsync(workload, count, isOpenLoop: false, StepPolicy.Default).GetAwaiter().GetResult().Requests));
        }
        return best;
    }

    private static double Elapsed(IReadOnlyList<MeasuredRequest> requests) => requests.Max(request => request.TokenTimes[^1]) - requests.Min(request => request.Arrival);

    private static double DecodeRate(IReadOnlyList<MeasuredRequest> requests)
    {
        double started = requests.Max(request => request.TokenTimes[0]), ended = requests.Min(request => request.TokenTimes[^1]);
        return requests.Sum(request => request.TokenTimes.Count(time => time > started && time <= ended)) / (ended - started);
    }

    private void Print(string name, double rate, string unit, Action<Utf8JsonWriter> write)
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {rate:N0} {unit}"));
        files.Add(json =>
        {
            json.WriteStartObject();
            write(json);
            json.WriteNumber("tok_s", rate);
            json.WriteEndObject();
        });
    }

    private static void Write(Utf8JsonWriter json, string kind, params ReadOnlySpan<(string Name, int Value)> fields)
    {
        json.WriteString("kind", kind);
        foreach ((string name, int value) in fields) json.WriteNumber(name, value);
    }
}
