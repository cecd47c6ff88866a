using System.Diagnostics;
using System.Globalization;

namespace FastGen.Benchmarks.Serving;

/// <summary>
/// Minutes of a trace, or of requests around the given means, with random cancellations, faults thrown into steps, and if asked a small cache. At the end
/// every request must have ended as it should, and blocks, device and managed memory must be back where they were.
/// </summary>
internal sealed class Soak : IDisposable
{
    private static readonly TimeSpan LongestSilence = TimeSpan.FromMinutes(3);

    private static readonly TimeSpan LongestRest = TimeSpan.FromSeconds(10);

    private readonly ServeOptions _options;
    private readonly ServingEngine _serving;
    private readonly Workload _workload;
    private readonly SemaphoreSlim _room;
    private readonly FaultInjection _faults;
    private readonly Lock _gate = new();
    private readonly List<string> _wrong = [];
    private List<double> _firstTokens = [];
    private int _completed, _cancelled, _faulted, _open;
    private double _longestGap;

    private Soak(ServeOptions options, ServingEngine serving, Workload workload)
    {
        int sequences = options.Sequences ?? 64;
        _options = options;
        _serving = serving;
        _workload = workload;
        // Arrivals beyond this wait outside, so that a trace faster than the device does not pile up without end.
        _room = new SemaphoreSlim(2 * sequences);
        _faults = new FaultInjection(serving.Backend, options.FaultShare, options.Seed);
    }

    public static int Run(ServeOptions options)
    {
        RequestTrace? trace = options.Trace is { } file ? RequestTrace.Read(file) : null;
        using ServingEngine serving = ServingEngine.Load(options, options.Policy, options.Sequences ?? 64);
        ServeBenchmark.Describe(options, serving);
        Workload workload = trace is { HasArrivals: true }
            ? Workload.FromTrace(trace, options.TimeCompression, options.Requests, serving.LongestRequest, options.Seed)
            : Workload.Normal(options.PromptMeans[0], options.OutputMeans[0], 10_000, serving.LongestRequest, options.Seed).WithPoissonArrivals(options.Rates.Count > 0 ? options.Rates[0] : 20);
        Console.WriteLine($"{options.Minutes} minutes of {workload.Name}, {options.CancelShare:P0} cancelled, a fault in {options.FaultShare:P1} of the steps");
        using Soak soak = new(options, serving, workload);
        return soak.RunAsync().GetAwaiter().GetResult();
    }

    public void Dispose() => _room.Dispose();

    private async Task<int> RunAsync()
    {
        // What a run allocates once (thread pool, compiled code, tables of the runtime) is there before memory is read.
        await SendAsync(TimeSpan.FromSeconds(Math.Min(10, 15 * _options.Minutes))).ConfigureAwait(false);
        Memory before = Memory.Now(_serving);
        EngineStatistics start = _serving.Engine.Statistics;
        Reset();

        await SendAsync(TimeSpan.FromMinutes(_options.Minutes)).ConfigureAwait(false);
        EngineStatistics after = await RestAsync().ConfigureAwait(false);
        Report(start, after);
        Reset();
        return Judge(after, before, Memory.Now(_serving)) ? 0 : 1;
    }

    // What a step in flight holds is free once it was collected, which may be after the last request ended.
    private async Task<EngineStatistics> RestAsync()
    {
        long start = Stopwatch.GetTimestamp();
        while (_serving.Engine.Statistics.UsedBlocks > 0 && Stopwatch.GetElapsedTime(start) < LongestRest) await Task.Delay(10).ConfigureAwait(false);
        return _serving.Engine.Statistics;
    }

    private void Reset()
    {
        (_firstTokens, _completed, _cancelled, _faulted, _longestGap) = ([], 0, 0, 0, 0);
        _faults.Thrown = 0;
    }

    // Replays the workload from its beginning for as long as asked, then waits for all that was sent.
    private async Task SendAsync(TimeSpan duration)
    {
        Random random = new(_options.Seed);
        long start = Stopwatch.GetTimestamp();
        double round = 0;
        using CancellationTokenSource timeIsUp = new(duration);
        _faults.IsOn = true;
        for (int i = 0; !timeIsUp.IsCancellationRequested; i++)
        {
            RequestPlan plan = _workload.Requests[i % _workload.Requests.Count];
            if (i > 0 && i % _workload.Requests.Count == 0) round += _workload.Requests[^1].ArrivalSeconds;
            double wait = round + plan.ArrivalSeconds - Stopwatch.GetElapsedTime(start).TotalSeconds;
            try
            {
                if (wait > 0) await Task.Delay(TimeSpan.FromSeconds(wait), timeIsUp.Token).ConfigureAwait(false);
                await _room.WaitAsync(timeIsUp.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                break;
            }
            int? cancelAt = random.NextDouble() < _options.CancelShare ? random.Next(plan.OutputTokens) : null;
            Interlocked.Increment(ref _open);
            _ = Task.Run(() => ServeAsync(plan with { Index = i }, cancelAt));
        }
        for (long waited = Stopwatch.GetTimestamp(); Volatile.Read(ref _open) > 0 && Stopwatch.GetElapsedTime(waited) < 2 * LongestSilence;) await Task.Delay(10).ConfigureAwait(false);
        _faults.IsOn = false;
    }

    private async Task ServeAsync(RequestPlan plan, int? cancelAt)
    {
        try
        {
            string? wrong = await ConsumeAsync(plan, cancelAt).ConfigureAwait(false);
            if (wrong is not null) lock (_gate) _wrong.Add($"request {plan.Index}: {wrong}");
        }
        catch (Exception exception)
        {
            lock (_gate) _wrong.Add($"request {plan.Index}: {exception}");
        }
        finally
        {
            Interlocked.Decrement(ref _open);
            _room.Release();
        }
    }

    // Reads a request to its end, cancelling it after some tokens (none: in its prompt or in the queue); says what is wrong with how it ended.
    private async Task<string?> ConsumeAsync(RequestPlan plan, int? cancelAt)
    {
        long last = Stopwatch.GetTimestamp();
        GenerationRequest request = _serving.Engine.Submit(_workload.Prompt(plan, _serving.Vocabulary), new SamplingParameters { Temperature = 0, MaxNewTokens = plan.OutputTokens, IgnoreEndOfSequence = true });
        if (cancelAt == 0) request.Cancel();
        double first = 0, gap = 0;
        for (int known = 0; !request.HasEnded || request.Count > known;)
        {
            try
            {
                await request.WaitAsync(known).AsTask().WaitAsync(LongestSilence).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                return $"hung after {known} of {plan.OutputTokens} tokens: none came for {LongestSilence.TotalSeconds:F0} s";
            }
            double seconds = Stopwatch.GetElapsedTime(last).TotalSeconds;
            if (known == 0) first = seconds;
            else gap = Math.Max(gap, seconds);
            last = Stopwatch.GetTimestamp();
            known = request.Count;
            if (known >= cancelAt) request.Cancel();
        }
        return Count(plan, request, cancelAt, first, gap);
    }

    private string? Count(RequestPlan plan, GenerationRequest request, int? cancelAt, double first, double gap)
    {
        lock (_gate)
        {
            if (request.Count > 0) _firstTokens.Add(first);
            _longestGap = Math.Max(_longestGap, gap);
            try
            {
                request.ThrowIfFailed();
            }
            catch (GenerationException exception) when (exception.GetBaseException() is InjectedFaultException)
            {
                _faulted++;
                return null;
            }
            switch (request.FinishReason)
            {
                case FinishReason.Length when request.Count == plan.OutputTokens:
                    _completed++;
                    return null;
                case FinishReason.Cancelled when cancelAt is not null:
                    _cancelled++;
                    return null;
                default:
                    return $"ended by {request.FinishReason} after {request.Count} of {plan.OutputTokens} tokens";
            }
        }
    }

    private void Report(EngineStatistics before, EngineStatistics after)
    {
        double[] first = [.. _firstTokens.Order()];
        string Percentile(double share) => first.Length == 0 ? "-" : string.Create(CultureInfo.InvariantCulture, $"{first[(int)(share * (first.Length - 1))]:F3}");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""
            requests  {_completed} completed, {_cancelled} cancelled, {_faulted} ended by {_faults.Thrown} faults, {_wrong.Count} wrong
            steps     {after.Steps - before.Steps}; {after.ComputedTokens - before.ComputedTokens} tokens computed, {after.GeneratedTokens - before.GeneratedTokens} generated, {after.Preemptions - before.Preemptions} restarts
            cache     at most {after.PeakUsedBlocks} of {after.TotalBlocks} blocks
            latency   first token P50 {Percentile(0.5)} s, P99 {Percentile(0.99)} s; longest time between tokens {_longestGap:F3} s
            """));
    }

    private bool Judge(EngineStatistics after, Memory before, Memory now)
    {
        const long ManagedSlack = 2 << 20, DeviceSlack = 16 << 20;
        (bool Holds, string Words)[] judgements =
        [
            (_wrong.Count == 0, "every request ended as it should"),
            (_open == 0, $"no request is open ({_open})"),
            (after is { RunningRequests: 0, WaitingRequests: 0 }, $"the engine runs and keeps none ({after.RunningRequests} and {after.WaitingRequests})"),
            (after.UsedBlocks == 0, $"all blocks are free ({after.UsedBlocks} in use)"),
            (now.Managed - before.Managed < ManagedSlack, $"managed memory is back: {before.Managed / 1048576.0:F2} MiB before, {now.Managed / 1048576.0:F2} after"),
            .. now.Allocated is null ? ReadOnlySpan<(bool, string)>.Empty :
            [
                (now.Allocated - before.Allocated < DeviceSlack, $"device memory is back: {before.Allocated / 1048576.0:F2} MiB allocated before, {now.Allocated / 1048576.0:F2} after"),
                (before.Free - now.Free < DeviceSlack, $"no less of it is free, others' use included: {before.Free / 1048576.0:F2} MiB before, {now.Free / 1048576.0:F2} after"),
            ],
        ];
        foreach ((bool holds, string words) in judgements) Console.WriteLine($"{(holds ? "ok    " : "FAILED")}    {words}");
        foreach (string wrong in _wrong.Take(10)) Console.WriteLine(wrong);
        return Array.TrueForAll(judgements, judgement => judgement.Holds);
    }

    /// <summary>Bytes of managed memory, allocated on the device, and left free there by all programs together (null on the CPU).</summary>
    private readonly record struct Memory(long Managed, long? Allocated, long? Free)
    {
        public static Memory Now(ServingEngine serving)
        {
            GC.Collect(2, GCCollectionMode.Forced, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
            return new Memory(GC.GetTotalMemory(forceFullCollection: true), serving.DeviceBytes, serving.FreeDeviceBytes);
        }
    }
}
