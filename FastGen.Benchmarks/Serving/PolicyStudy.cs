namespace FastGen.Benchmarks.Serving;

/// <summary>
/// One workload under the default policy and those asked for: several token budgets, targets, whole prompts. The default's calibrated curve is
/// DeepSpeed-FastGen's figure of throughput against tokens in a forward pass; the rest says what that means to requests.
/// </summary>
internal static class PolicyStudy
{
    public static int Run(ServeOptions options)
    {
        // One load: the first of a file, or the largest number of clients with the first pair of means.
        (Workload Workload, double Clients) Load(int longestRequest) => options.Loads is { } file
            ? Workload.ReadAll(file, longestRequest).First()
            : (Workload.Normal(options.PromptMeans[0], options.OutputMeans[0], options.Requests ?? ServeBenchmark.RequestsFor(options.Clients[^1], options.OutputMeans[0]), longestRequest, options.Seed), options.Clients[^1]);
        using ResultFiles files = new(options.Output);
        foreach (StepPolicy policy in options.Policies.Prepend(StepPolicy.Default))
        {
            using ServingEngine serving = ServingEngine.Load(options, policy, options.Sequences ?? Math.Max(64, (int)Load(int.MaxValue).Clients));
            (Workload workload, double clients) = Load(serving.LongestRequest);
            if (policy == StepPolicy.Default)
            {
                files.Begin(options, serving);
                ServeBenchmark.Describe(options, serving);
                Console.WriteLine($"{workload.Name}, {clients} clients");
                Console.WriteLine($"{LoadPoint.TableHead}  policy");
            }
            LoadGenerator generator = new(serving);
            generator.WarmUpAsync(workload, (int)clients).GetAwaiter().GetResult();
            ServingRun run = generator.MeasureAsync(workload, clients, isOpenLoop: false, policy).GetAwaiter().GetResult();
            files.Add(run);
            Console.WriteLine($"{run.Point.TableRow()}  {policy.Name}");
        }
        Console.WriteLine($"wrote {options.Output}");
        return 0;
    }
}
