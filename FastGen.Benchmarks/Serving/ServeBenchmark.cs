using System.Globalization;
using System.Text.Json;
using FastGen.Kernels.Cuda;
using FastGen.Models;

namespace FastGen.Benchmarks.Serving;

/// <summary>
/// Serves a model to simulated clients, token ids in and out, as DeepSpeed-FastGen's benchmark does (Holmes et al. 2024): throughput against latency,
/// effective throughput under service targets, percentiles, forward occupancy and cache use, under closed loops, Poisson arrivals and recorded traces.
/// </summary>
internal static class ServeBenchmark
{
    /// <summary>Context of Llama 3, which the peers' scripts serve.</summary>
    private const int LongestPeerRequest = 8192;

    /// <summary>Requests at once in the warm-up of an open loop.</summary>
    private const int OpenLoopWarmUp = 32;

    public static int Run(string[] args)
    {
        try
        {
            ServeOptions options = ServeOptions.Parse(args);
            return options.Mode switch
            {
                ServeMode.Soak => Soak.Run(options),
                ServeMode.Budget => PolicyStudy.Run(options),
                ServeMode.Plots => Draw(options),
                ServeMode.Lengths => WriteLengths(options),
                _ => Sweep(options),
            };
        }
        catch (ArgumentException exception)
        {
            Console.Error.WriteLine(exception.Message);
            Console.Error.WriteLine();
            Console.Error.WriteLine(ServeOptions.Usage);
            return 2;
        }
        catch (Exception exception) when (exception is ModelLoadException or UnsupportedModelException or CudaException)
        {
            Console.Error.WriteLine(exception.Message);
            return 1;
        }
    }

    private static int Sweep(ServeOptions options)
    {
        RequestTrace? trace = options.Mode == ServeMode.Trace ? RequestTrace.Read(options.Trace!) : null;
        int mostClients = options.Loads is { } loadsFile ? (int)Workload.ReadAll(loadsFile, int.MaxValue).Max(load => load.Clients) : options.ClosedLoads.Max(load => load.Clients.Max());
        int sequences = options.Sequences ?? (options.Mode == ServeMode.Closed ? Math.Max(64, mostClients) : 256);
        using ServingEngine serving = ServingEngine.Load(options, options.Policy, sequences);
        Describe(options, serving);
        List<(Workload Workload, double Load, bool IsOpenLoop)> loads = [.. Loads(options, trace, serving.LongestRequest)];
        List<ServingRun> runs = Measure(options, serving, loads);
        Console.WriteLine($"wrote {options.Output}");
        if (!Charts.CanDraw)
        {
            Console.WriteLine("SkiaSharp's native library is missing here: figures are to be drawn elsewhere, by --mode plots");
            return 0;
        }
        foreach (ServingRun run in runs.GroupBy(run => run.Point.Workload).Select(group => group.Last()))
        {
            string name = run.Point.Workload.Replace(',', '-');
            RunFigures.SaveOccupancy(Path.Combine(options.Output, $"occupancy_{name}"), run, serving.Engine.Statistics);
            if (run.Point.IsOpenLoop) RunFigures.SaveDistribution(Path.Combine(options.Output, $"distribution_{name}"), run);
        }
        return trace is null ? Draw(options) : 0;
    }

    private static List<ServingRun> Measure(ServeOptions options, ServingEngine serving, List<(Workload Workload, double Load, bool IsOpenLoop)> loads)
    {
        LoadGenerator generator = new(serving);
        using ResultFiles files = new(options.Output);
        files.Begin(options, serving);
        List<ServingRun> runs = [];
        // Prompts of the same lengths run through the same kernels, whatever follows them.
        foreach (IGrouping<string, (Workload Workload, double Load, bool IsOpenLoop)> group in loads.GroupBy(load => load.Workload.Name.Split(',')[0]))
        {
            generator.WarmUpAsync(group.First().Workload, group.Max(load => load.IsOpenLoop ? OpenLoopWarmUp : (int)load.Load)).GetAwaiter().GetResult();
        }
        Console.WriteLine(LoadPoint.TableHead);
        foreach ((Workload workload, double load, bool isOpenLoop) in loads)
        {
            ServingRun run = generator.MeasureAsync(workload, load, isOpenLoop, options.Policy).GetAwaiter().GetResult();
            Console.WriteLine(run.Point.TableRow());
            files.Add(run);
            runs.Add(run);
        }
        if (options.Offline) new OfflineBatches(generator, files, serving.LongestRequest, options.Sequences ?? 64, options.Seed).Run(options.Decodes);
        return runs;
    }

    private static IEnumerable<(Workload Workload, double Load, bool IsOpenLoop)> Loads(ServeOptions options, RequestTrace? trace, int longestRequest)
    {
        if (trace is not null)
        {
            Workload workload = Workload.FromTrace(trace, options.TimeCompression, options.Requests, longestRequest, options.Seed);
            if (!trace.HasArrivals) workload = workload.WithPoissonArrivals(options.Rates.Count > 0 ? options.Rates[0] : throw new ArgumentException($"--trace {options.Trace} has lengths but no arrivals; give --rates N."));
            ReportTrace(trace, workload, longestRequest);
            yield return (workload, workload.Requests.Count / Math.Max(1, workload.Requests[^1].ArrivalSeconds), true);
            yield break;
        }
        if (options is { Mode: ServeMode.Closed, Loads: { } file })
        {
            foreach ((Workload workload, double clients) in Workload.ReadAll(file, longestRequest)) yield return (workload, clients, false);
            yield break;
        }
        if (options.Mode is ServeMode.Closed or ServeMode.Lengths)
        {
            foreach ((int prompt, int output, IReadOnlyList<int> each) in options.ClosedLoads)
            {
                foreach (int clients in each) yield return (Workload.Normal(prompt, output, options.Requests ?? RequestsFor(clients, output), longestRequest, options.Seed), clients, false);
            }
            yield break;
        }
        foreach ((int prompt, int output) in options.Lengths)
        {
            foreach (double rate in options.Rates.Count > 0 ? options.Rates : [1])
            {
                yield return (Workload.Normal(prompt, output, options.Requests ?? Math.Max(32, (int)(30 * rate)), longestRequest, options.Seed).WithPoissonArrivals(rate), rate, true);
            }
        }
    }

    /// <summary>Requests of a closed loop, as in the peers' scripts: enough for the ramps at both ends to matter little.</summary>
    internal static int RequestsFor(int clients, int outputMean) => Math.Max(6, (outputMean < 500 ? 4 : 2) * clients);

    private static int WriteLengths(ServeOptions options)
    {
        Directory.CreateDirectory(options.Output);
        string path = Path.Combine(options.Output, "loads.jsonl");
        using FileStream file = File.Create(path);
        foreach ((Workload workload, double clients, _) in Loads(options, trace: null, options.Context ?? LongestPeerRequest))
        {
            using (Utf8JsonWriter json = new(file)) workload.Write(json, clients);
            file.WriteByte((byte)'\n');
        }
        Console.WriteLine($"wrote {path}");
        return 0;
    }

    // Everything comes from result files, so that figures can be drawn elsewhere and again.
    private static int Draw(ServeOptions options)
    {
        List<RunSummary> runs = [.. Directory.EnumerateFiles(options.Output, "*.jsonl").Where(IsSummary).Order().Select(file => RunSummary.Read(file))];
        runs.AddRange(options.Compared.Select(each => RunSummary.Read(each.File, each.Label)));
        foreach (RunSummary study in runs.Where(run => run.IsStudy)) PolicyFigure.Save(options.Output, study);
        List<RunSummary> sweeps = [.. runs.Where(run => !run.IsStudy).OrderBy(run => run.Label != options.Label)];
        if (sweeps.Count > 0)
        {
            new ServingFigures(options.Output, sweeps).SaveAll();
            string table = ComparisonTable.Write(sweeps);
            File.WriteAllText(Path.Combine(options.Output, "comparison.md"), table);
            Console.WriteLine(table);
        }
        Console.WriteLine($"drew {runs.Count} summaries in {options.Output}");
        return runs.Count > 0 ? 0 : throw new ArgumentException($"{options.Output} has no summaries (JSON lines), and no --compare was given.");
    }

    private static bool IsSummary(string file) => File.ReadLines(file).Any(line => line.Contains("\"sweep\"", StringComparison.Ordinal));

    internal static void Describe(ServeOptions options, ServingEngine serving)
    {
        EngineStatistics engine = serving.Engine.Statistics;
        Console.WriteLine($"{options.Shape ?? options.Model} on {serving.Backend.Description}");
        Console.WriteLine($"{engine.TokenBudget} tokens a step{(serving.Engine.Calibration is { } measured ? $" (measured), {measured.BacklogTokenBudget} while tokens are read and many prompts wait, {measured.StreamingTokenBudget} while few do" : "")}, cache of {engine.TotalBlocks * (long)engine.BlockSize} tokens, context {serving.Engine.MaxContext}, seed {options.Seed}");
        if (serving.Engine.Calibration is { } curve) Console.WriteLine(curve);
    }

    private static void ReportTrace(RequestTrace trace, Workload workload, int longestRequest)
    {
        int clamped = workload.Requests.Count(plan => plan.PromptTokens != trace.Requests[plan.Index].PromptTokens || plan.OutputTokens != trace.Requests[plan.Index].OutputTokens);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{trace.Name}: {workload.Requests.Count} of {trace.Requests.Count} requests in {workload.Requests[^1].ArrivalSeconds:F1} s, prompts of {workload.Requests.Average(plan => plan.PromptTokens):F0} and outputs of {workload.Requests.Average(plan => plan.OutputTokens):F0} tokens in the mean; {clamped} cut to {longestRequest} tokens"));
    }
}
