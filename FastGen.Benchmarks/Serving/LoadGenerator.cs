using System.Diagnostics;

namespace FastGen.Benchmarks.Serving;

/// <summary>What a consumer saw of one request; times in seconds from the start of the run.</summary>
/// <param name="Plan">What was sent.</param>
/// <param name="Arrival">When it was sent, or should have been: the planned instant in an open loop.</param>
/// <param name="TokenTimes">When each token reached the consumer.</param>
internal sealed record MeasuredRequest(RequestPlan Plan, double Arrival, double[] TokenTimes)
{
    public double TimeToFirstToken => TokenTimes[0] - Arrival;

    public double Latency => TokenTimes[^1] - Arrival;

    public IEnumerable<double> TimesBetweenTokens => TokenTimes.Zip(TokenTimes.Skip(1), (before, after) => after - before);
}

/// <summary>All that was measured under one load.</summary>
internal sealed record ServingRun(LoadPoint Point, IReadOnlyList<MeasuredRequest> Requests, IReadOnlyList<StepRecord> Steps);

/// <summary>Sends a workload to an engine, each request from a consumer of its own that notes when its tokens come.</summary>
internal sealed class LoadGenerator(ServingEngine serving)
{
    private const int MostWarmUpClients = 16;

    // Greedy and past every stop token, so that the lengths are those that were drawn.
    private static SamplingParameters Sampling(int outputTokens) => new() { Temperature = 0, MaxNewTokens = outputTokens, IgnoreEndOfSequence = true };

    /// <summary>Runs a workload under one load: <paramref name="load"/> clients, or arrivals as planned, which come <paramref name="load"/> a second.</summary>
    public async Task<ServingRun> MeasureAsync(Workload workload, double load, bool isOpenLoop, StepPolicy policy)
    {
        EngineStatistics before = serving.Engine.Statistics;
        long start = Stopwatch.GetTimestamp();
        serving.StartRecording(start);
        List<MeasuredRequest> requests = await (isOpenLoop ? OpenLoopAsync(workload, start) : ClosedLoopAsync(workload, (int)load, start)).ConfigureAwait(false);
        List<StepRecord> steps = serving.StopRecording();
        LoadPoint point = LoadPoint.Summarize(workload.Name, load, isOpenLoop, requests, steps, before, serving.Engine.Statistics);
        return new ServingRun(point with { Policy = policy.Name }, requests, steps);
    }

    /// <summary>Requests with outputs of several lengths before what is measured, so that this program is compiled and the device is warm; the engine has run steps of all sizes at load.</summary>
    public async Task WarmUpAsync(Workload workload, int clients)
    {
        RequestPlan[] plans = [.. workload.Requests.Take(Math.Min(clients, MostWarmUpClients)).Select((plan, i) => plan with { OutputTokens = 8 + (4 * i) })];
        await ClosedLoopAsync(workload with { Requests = plans, Seed = workload.Seed + 1 }, clients, Stopwatch.GetTimestamp()).ConfigureAwait(false);
    }

    // As many requests as there are clients run at any time, in the workload's order.
    private async Task<List<MeasuredRequest>> ClosedLoopAsync(Workload workload, int clients, long start)
    {
        List<MeasuredRequest> measured = [];
        int next = -1;
        async Task Client()
        {
            for (int i = Interlocked.Increment(ref next); i < workload.Requests.Count; i = Interlocked.Increment(ref next))
            {
                MeasuredRequest request = await RunAsync(workload, workload.Requests[i], start, arrival: null).ConfigureAwait(false);
                lock (measured) measured.Add(request);
            }
        }
        await Task.WhenAll(Enumerable.Range(0, clients).Select(_ => Task.Run(Client))).ConfigureAwait(false);
        return measured;
    }

    // Each request at its planned instant, however many others run.
    private async Task<List<MeasuredRequest>> OpenLoopAsync(Workload workload, long start)
    {
        List<Task<MeasuredRequest>> running = [];
        foreach (RequestPlan plan in workload.Requests)
        {
            double wait = plan.ArrivalSeconds - Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (wait > 0) await Task.Delay(TimeSpan.FromSeconds(wait)).ConfigureAwait(false);
            running.Add(Task.Run(() => RunAsync(workload, plan, start, plan.ArrivalSeconds)));
        }
        return [.. await Task.WhenAll(running).ConfigureAwait(false)];
    }

    private async Task<MeasuredRequest> RunAsync(Workload workload, RequestPlan plan, long start, double? arrival)
    {
        int[] prompt = workload.Prompt(plan, serving.Vocabulary);
        double[] times = new double[plan.OutputTokens];
        double sent = Stopwatch.GetElapsedTime(start).TotalSeconds;
        GenerationRequest request = serving.Engine.Submit(prompt, Sampling(plan.OutputTokens), workload.IsStreamed);
        for (int known = 0; known < times.Length;)
        {
            await request.WaitAsync(known).ConfigureAwait(false);
            double now = Stopwatch.GetElapsedTime(start).TotalSeconds;
            int count = request.Count;
            if (count == known)
            {
                request.ThrowIfFailed();
                throw new InvalidOperationException($"Request {plan.Index} ended ({request.FinishReason}) after {known} of {times.Length} tokens.");
            }
            times.AsSpan(known, count - known).Fill(now);
            known = count;
        }
        return new MeasuredRequest(plan, arrival ?? sent, times);
    }
}
