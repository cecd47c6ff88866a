using FastGen.Benchmarks;

return args switch
{
    ["host", .. string[] rest] => HostCostBenchmark.Run(rest),
    _ => Usage(),
};

static int Usage()
{
    Console.WriteLine("""
        FastGen benchmarks. The first argument says which:
          host [SEQUENCES...]   host time and allocations of a step, on a backend that computes nothing
        """);
    return 1;
}
