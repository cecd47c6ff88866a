using FastGen.Benchmarks;
using FastGen.Benchmarks.Cuda;
using FastGen.Benchmarks.Serving;

return args switch
{
    ["host", .. string[] rest] => HostCostBenchmark.Run(rest),
    ["cpu", .. string[] rest] => Run(CpuBenchmark.Run, rest),
    ["tokenizer", .. string[] rest] => Run(TokenizerBenchmark.Run, rest),
    ["cuda", .. string[] rest] => CudaBenchmark.Run(rest),
    ["mixed", .. string[] rest] => MixedStepBenchmark.Run(rest),
    ["serve", .. string[] rest] => ServeBenchmark.Run(rest),
    _ => Usage(),
};

static int Run(Action<string[]> benchmark, string[] arguments)
{
    benchmark(arguments);
    return 0;
}

static int Usage()
{
    Console.WriteLine("""
        FastGen benchmarks. The first argument says which:
          host [SEQUENCES...]   host time and allocations of a step, on a backend that computes nothing
          cpu [THREADS [PART]]  decode, products and attention on the CPU against the rate of reading memory and against libtorch
          tokenizer FOLDER...   encoding, loading and streaming decode of published tokenizers
          cuda                  limits of a GPU, and prompts and decode of a Llama-3-8B shape against them
          mixed                 steps of decodes and a prompt's chunk against the two apart
          serve OPTIONS...      throughput, latency and service targets under clients, Poisson arrivals or a trace; `serve` alone says more
        """);
    return 1;
}
