using System.Globalization;
using System.Text;
using System.Text.Json;

namespace FastGen.Tests;

/// <summary>
/// A guard against worse scheduling: seeded requests on a simulated device whose steps take a time of their own reckoning, so that steps, tokens,
/// restarts and latencies are the same everywhere. They must be exactly as recorded in scheduling.json.
/// </summary>
public sealed class SchedulingRegressionTests
{
    private const string RecordVariable = "FASTGEN_RECORD_SCHEDULING";

    private static readonly Scenario[] Scenarios =
    [
        new("chat, room to spare", new SchedulerLimits(TokenBudget: 512, MaxSequences: 64), Blocks: 8000, Requests: 300, Prompt: (100, 1500), Output: (50, 400)) { MeanGap = 60_000 },
        new("long prompts, short outputs", new SchedulerLimits(TokenBudget: 2048, MaxSequences: 64), Blocks: 20_000, Requests: 256, Prompt: (1800, 3400), Output: (40, 80)) { Clients = 32 },
        new("long outputs, many clients", new SchedulerLimits(TokenBudget: 512, MaxSequences: 128), Blocks: 20_000, Requests: 300, Prompt: (300, 700), Output: (200, 600)) { Clients = 128 },
        new("small cache", new SchedulerLimits(TokenBudget: 512, MaxSequences: 64, WatermarkBlocks: 6), Blocks: 600, Requests: 200, Prompt: (100, 700), Output: (100, 300)) { Clients = 48 },
        new("tiny cache, long outputs", new SchedulerLimits(TokenBudget: 512, MaxSequences: 16, WatermarkBlocks: 2), Blocks: 188, Requests: 300, Prompt: (20, 700), Output: (50, 300)) { MeanGap = 80_000 },
        new("burst of mixed lengths", new SchedulerLimits(TokenBudget: 1024, MaxSequences: 32, WatermarkBlocks: 10), Blocks: 1000, Requests: 250, Prompt: (10, 3000), Output: (1, 200)),
        new("sliding window", new SchedulerLimits(TokenBudget: 256, MaxSequences: 32, CacheWindow: 512), Blocks: 900, Requests: 150, Prompt: (50, 2500), Output: (50, 500)) { MeanGap = 40_000 },
        new("budget below the sequences", new SchedulerLimits(TokenBudget: 24, MaxSequences: 48), Blocks: 2000, Requests: 120, Prompt: (5, 120), Output: (20, 80)) { Clients = 48 },
        new("streaming and backlog", new SchedulerLimits(TokenBudget: 1024, MaxSequences: 64, StreamingTokenBudget: 512), Blocks: 20_000, Requests: 300, Prompt: (300, 4000), Output: (40, 150)) { Clients = 32 },
        new("streaming to many", new SchedulerLimits(TokenBudget: 2048, MaxSequences: 256, StreamingTokenBudget: 512, BacklogTokenBudget: 1024), Blocks: 20_000, Requests: 384, Prompt: (300, 700), Output: (90, 210)) { Clients = 128 },
        new("whole results at once", new SchedulerLimits(TokenBudget: 2048, MaxSequences: 128, StreamingTokenBudget: 512, BacklogTokenBudget: 1024), Blocks: 20_000, Requests: 128, Prompt: (500, 700), Output: (128, 129)) { IsStreamed = false },
        new("whole prompts", new SchedulerLimits(TokenBudget: 4096, MaxSequences: 64, SplitFuse: false), Blocks: 20_000, Requests: 256, Prompt: (1800, 3400), Output: (40, 80)) { Clients = 32 },
    ];

    [Test]
    public void Schedule_SeededRequests_IsAsRecorded()
    {
        Dictionary<string, Dictionary<string, long>> measured = Scenarios.ToDictionary(scenario => scenario.Name, scenario => new Simulation(scenario).Run());
        if (Environment.GetEnvironmentVariable(RecordVariable) == "1")
        {
            string path = Path.Combine(Repository.Root!, "FastGen.Tests", "Core", "Scheduling", "scheduling.json");
            File.WriteAllText(path, Json(measured));
            Assert.Ignore($"Recorded {path}; nothing was compared.");
        }

        StringBuilder differences = new();
        using JsonDocument recorded = JsonDocument.Parse(typeof(SchedulingRegressionTests).Assembly.GetManifestResourceStream("scheduling.json")!);
        foreach ((string scenario, Dictionary<string, long> figures) in measured)
        {
            if (!recorded.RootElement.TryGetProperty(scenario, out JsonElement expected)) differences.AppendLine(CultureInfo.InvariantCulture, $"{scenario}: not recorded");
            else Compare(scenario, expected, figures, differences);
        }
        Assert.That(differences.ToString(), Is.Empty, $"Scheduling has changed. If it is meant and no worse, record it: {RecordVariable}=1 with this test, build, and commit scheduling.json with the reason.");
    }

    private static void Compare(string scenario, JsonElement expected, Dictionary<string, long> figures, StringBuilder differences)
    {
        foreach ((string name, long now) in figures)
        {
            long? before = expected.TryGetProperty(name, out JsonElement value) ? value.GetInt64() : null;
            if (before != now) differences.AppendLine(CultureInfo.InvariantCulture, $"{scenario}: {name} was {before}, is {now} ({Math.Round(100.0 * (now - (before ?? now)) / (before ?? 1), 1):+0.0;-0.0;0.0} %)");
        }
    }

    private static string Json(Dictionary<string, Dictionary<string, long>> measured)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            foreach ((string scenario, Dictionary<string, long> figures) in measured)
            {
                json.WriteStartObject(scenario);
                foreach ((string name, long value) in figures) json.WriteNumber(name, value);
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    /// <summary>Requests and the engine that serves them. With clients the loop is closed; with a mean gap (µs) arrivals are spread; with neither all come at once.</summary>
    private sealed record Scenario(string Name, SchedulerLimits Limits, int Blocks, int Requests, (int Least, int Most) Prompt, (int Least, int Most) Output)
    {
        public int Clients { get; init; }

        public int MeanGap { get; init; }

        public bool IsStreamed { get; init; } = true;
    }

    private sealed record Request(Sequence Sequence, long Arrival)
    {
        public long FirstToken { get; set; } = -1;

        public long LastToken { get; set; }
    }

    /// <summary>The engine's loop in virtual time (ns), one step in flight. A step takes as long as Llama-3-8B on a device of 4 TB/s would, roughly.</summary>
    private sealed class Simulation
    {
        private const int BlockSize = 16;
        private const long StepTime = 4_000_000, TokenTime = 22_000, ContextTime = 30;

        private readonly Scenario _scenario;
        private readonly BlockAllocator _blocks;
        private readonly Scheduler _scheduler;
        private readonly Queue<(long Arrival, int Prompt, int Output)> _coming = new();
        private readonly Dictionary<Sequence, Request> _requests = [];
        private readonly List<long> _between = [];
        private long _now, _deviceFree, _steps, _tokens, _latency, _firstToken;

        public Simulation(Scenario scenario)
        {
            _scenario = scenario;
            _blocks = new BlockAllocator(scenario.Blocks, BlockSize);
            _scheduler = new Scheduler(_blocks, scenario.Limits);
            Random random = new(7);
            long arrival = 0;
            for (int i = 0; i < scenario.Requests; i++)
            {
                if (scenario.MeanGap > 0) arrival += random.Next(2 * scenario.MeanGap) * 1000L;
                _coming.Enqueue((arrival, Between(random, scenario.Prompt), Between(random, scenario.Output)));
            }
        }

        public Dictionary<string, long> Run()
        {
            List<ScheduledSequence> inFlight = [], next = [];
            long inFlightEnds = 0;
            while (_coming.Count > 0 || _requests.Count > 0 || inFlight.Count > 0)
            {
                Arrive();
                if (!_scheduler.Schedule(next, mayPreempt: inFlight.Count == 0)) next.Clear();
                long nextEnds = next.Count > 0 ? Submit(next) : 0;
                if (next.Count == 0 && inFlight.Count == 0)
                {
                    Assert.That(_requests, Is.Empty, $"{_scenario.Name}: somebody goes on.");
                    _now = Math.Max(_now, _coming.Peek().Arrival);
                }
                if (inFlight.Count > 0) Collect(inFlight, inFlightEnds);
                (inFlight, next, inFlightEnds) = (next, inFlight, nextEnds);
                next.Clear();
            }
            Assert.That(_blocks.FreeBlocks, Is.EqualTo(_blocks.TotalBlocks), $"{_scenario.Name}: all blocks are free at the end.");
            _between.Sort();
            return new Dictionary<string, long>
            {
                ["steps"] = _steps,
                ["tokens"] = _tokens,
                ["restarts"] = _scheduler.Preemptions,
                ["duration_us"] = _now / 1000,
                ["mean_time_to_first_token_us"] = _firstToken / _scenario.Requests / 1000,
                ["mean_latency_us"] = _latency / _scenario.Requests / 1000,
                ["p99_time_between_tokens_us"] = _between[_between.Count * 99 / 100] / 1000,
                ["longest_time_between_tokens_us"] = _between[^1] / 1000,
            };
        }

        private static int Between(Random random, (int Least, int Most) range) => random.Next(range.Least, range.Most + 1);

        private void Arrive()
        {
            int most = _scenario.Clients > 0 ? _scenario.Clients : int.MaxValue;
            while (_requests.Count < most && _coming.TryPeek(out (long Arrival, int Prompt, int Output) coming) && coming.Arrival <= _now)
            {
                _coming.Dequeue();
                long arrival = _scenario.MeanGap > 0 ? coming.Arrival : _now;
                Sequence sequence = new(new int[coming.Prompt], coming.Prompt + coming.Output, BlockSize) { IsStreamed = _scenario.IsStreamed, Deadline = arrival + (coming.Prompt * 1_000_000_000L / Scheduler.PromptRate) };
                _requests[sequence] = new Request(sequence, arrival);
                _scheduler.Add(sequence);
            }
        }

        // When the step ends: after the one before it, since the device runs one at a time.
        private long Submit(List<ScheduledSequence> step)
        {
            long time = StepTime;
            foreach ((Sequence sequence, int tokens, bool draws) in step)
            {
                sequence.Submitted(tokens, draws);
                _tokens += tokens;
                int context = _scenario.Limits.CacheWindow == 0 ? sequence.ComputedTokens : Math.Min(sequence.ComputedTokens, _scenario.Limits.CacheWindow);
                time += (tokens * TokenTime) + (context * ContextTime);
            }
            _steps++;
            return _deviceFree = Math.Max(_now, _deviceFree) + time;
        }

        private void Collect(List<ScheduledSequence> step, long ends)
        {
            _now = Math.Max(_now, ends);
            foreach ((Sequence sequence, _, bool draws) in step)
            {
                if (draws && !sequence.IsRetired) Append(sequence);
            }
            _scheduler.Collected(step);
        }

        private void Append(Sequence sequence)
        {
            sequence.EndDraw(1);
            Request request = _requests[sequence];
            if (request.FirstToken < 0) request.FirstToken = _now;
            else _between.Add(_now - request.LastToken);
            request.LastToken = _now;
            if (sequence.TokenCount - sequence.DrawsInFlight < sequence.MaxTokens) return;

            _scheduler.Retire(sequence);
            _requests.Remove(sequence);
            _firstToken += request.FirstToken - request.Arrival;
            _latency += _now - request.Arrival;
        }
    }
}
