using System.Diagnostics;
using System.Globalization;
using FastGen.Benchmarks.Serving;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Tests;

namespace FastGen.Benchmarks.Cuda;

/// <summary>
/// What the first load of a model compiles, and how long that takes: `cuda --compile [--shape NAME] [--device "RTX 3090"] [--detail]`. Needs NVRTC but no GPU; nothing is
/// taken from the cache of compiled kernels or put there. One after another first, then on all processors as a load does it.
/// </summary>
internal static class CompileBenchmark
{
    public static int Run(string shape, string device, bool detail)
    {
        ImaginedDevice imagined = ImaginedDevice.Of(device);
        KernelCompiler compiler = new(imagined.Capability, cache: null, useHopperInstructions: true);
        using CudaBackend backend = imagined.Backend(compiler: compiler);
        long start = Stopwatch.GetTimestamp();
        IReadOnlyList<KernelLaunch> launches = ImaginedModel.Launches(backend, ModelShapes.Config(shape), DType.BF16);
        Print($"{shape} on {device}: {launches.Count} launches seen in {Stopwatch.GetElapsedTime(start).TotalMilliseconds:F0} ms");
        KernelCode[] codes = [.. launches.Select(launch => launch.Code).Distinct()];
        // The library itself is slower at first.
        _ = compiler.Compile(codes[0]);
        Dictionary<KernelCode, double> seconds = [];
        foreach (KernelCode code in codes)
        {
            start = Stopwatch.GetTimestamp();
            byte[] image = compiler.Compile(code);
            seconds[code] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (detail) Print($"  {seconds[code] * 1e3,6:F0} ms {image.Length / 1024,5} KiB  {code}");
        }
        foreach (IGrouping<string, KernelCode> source in codes.GroupBy(code => code.Source).OrderByDescending(group => group.Sum(code => seconds[code])))
        {
            Print($"  {source.Key,-20} {source.Count(),3} variants, {source.Sum(code => seconds[code]),6:F2} s, the longest {source.Max(code => seconds[code]),5:F2} s");
        }
        using KernelLibrary library = new(imagined, compiler);
        start = Stopwatch.GetTimestamp();
        library.Compile(codes);
        double together = Stopwatch.GetElapsedTime(start).TotalSeconds, alone = seconds.Values.Sum();
        Print($"{codes.Length} compilations: {alone:F1} s one after another, {together:F1} s on {Environment.ProcessorCount} processors ({alone / together:F1} times as fast)");
        return 0;
    }

    private static void Print(FormattableString line) => Console.WriteLine(line.ToString(CultureInfo.InvariantCulture));
}
