namespace FastGen.Benchmarks.Serving;

/// <summary>
/// One workload under the default policy and those asked for: several token budgets, targets, whole prompts. The default's calibrated curve is
/// DeepSpeed-FastGen's figure of throughput against tokens in a forward pass; the rest says what that means to requests.
/// </summary>
internal static class PolicyStudy
{
    public static int Run(ServeOptions options)
    {
        int clients = options.Clients[^1];
        (int promptMean, int outputMean) = options.Lengths.First();
        using ResultFiles files = new(options.Output);
        foreach (StepPolicy policy in options.Policies.Prepend(StepPolicy.Default))
        {
            using ServingEngine serving = ServingEngine.Load(options, policy, options.Sequences ?? Math.Max(64, clients));
            if (policy == StepPolicy.Default)
            {
                files.Begin(options, serving);
                ServeBenchmark.Describe(options, serving);
                Console.WriteLine($"{promptMean} → {outputMean} tokens, {clients} clients");
                Console.WriteLine($"{LoadPoint.TableHead}  policy");
            }
            Workload workload = Workload.Normal(promptMean, outputMean, options.Requests ?? ServeBenchmark.RequestsFor(clients, outputMean), serving.LongestRequest, options.Seed);
            LoadGenerator generator = new(serving);
            generator.WarmUpAsync(workload, clients).GetAwaiter().GetResult();
            ServingRun run = generator.MeasureAsync(workload, clients, isOpenLoop: false, policy).GetAwaiter().GetResult();
            files.Add(run);
            Console.WriteLine($"{run.Point.TableRow()}  {policy.Name}");
        }
        Console.WriteLine($"wrote {options.Output}");
        return 0;
    }
}
