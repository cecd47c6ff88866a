using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cpu;

namespace FastGen.Benchmarks;

/// <summary>
/// The CPU kernels against what the same cores can do: decoding against reading the same memory, F32 products against libtorch's,
/// BF16 products against F32. Rivals take turns, and ratios are medians, since clocks and neighbours change.
/// </summary>
public static unsafe class CpuBenchmark
{
    private static readonly (int Rows, int Inputs, int Outputs)[] Products = [(512, 4096, 4096), (512, 4096, 14336), (512, 14336, 4096), (128, 4096, 4096), (32, 4096, 4096), (512, 1024, 3072)];

    /// <summary>Prints the ratios of one part (decode, products or attention), or of all.</summary>
    /// <param name="args">The number of threads, by default one a processor; the part.</param>
    public static void Run(string[] args)
    {
        int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : Environment.ProcessorCount;
        string part = args.Length > 1 ? args[1] : "all";
        using IBackend backend = CpuBackend.Create(threads);
        Console.WriteLine(backend.Description);
        if (part is "decode" or "all") Decode(backend, threads);
        if (part is "products" or "all") foreach ((int rows, int inputs, int outputs) in Products) Multiply(threads, rows, inputs, outputs);
        if (part is "attention" or "all") CpuAttentionBenchmark.Run(threads);
    }

    // Some tokens through two layers of Llama-3-8B's shape and an eighth of its head: 1 GB of 16-bit weights.
    private static void Decode(IBackend backend, int threads)
    {
        (int Outputs, int Inputs)[] layer = [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)];
        LinearWeights[] MakeWeights(DType type) => [.. layer.Concat(layer).Append((16384, 4096)).Select(shape => new LinearWeights(Weights(backend, type, shape.Item1, shape.Item2)))];
        LinearWeights[] brains = MakeWeights(DType.BF16), halves = MakeWeights(DType.F16);
        double bytes = brains.Sum(weight => (double)weight.Weight.Bytes);
        using WorkerPool pool = new(threads);
        foreach (int rows in new[] { 1, 2, 4, 8, 12, 16 })
        {
            Tensor input = backend.Allocate(DType.F32, rows, 14336), output = backend.Allocate(DType.F32, rows, 28672);
            void Ours(LinearWeights[] weights)
            {
                foreach (LinearWeights weight in weights) backend.Linear(output with { Columns = weight.Outputs }, new LinearInput(input with { Columns = weight.Inputs }), weight);
            }
            double[] times = Alternate(20, () => pool.Run(new ReadWork([.. brains.Select(weight => weight.Weight)])), () => Ours(brains), () => Ours(halves));
            string[] rates = [.. times.Select(time => $"{bytes / time / 1e9:F1} GB/s")];
            Print($"decode of {rows}, BF16, 1 GB", rates[1], "plain read", rates[0], times[0] / times[1]);
            Print($"decode of {rows}, F16, 1 GB", rates[2], "BF16", rates[1], times[1] / times[2]);
        }
    }

    private static void Multiply(int threads, int rows, int inputs, int outputs)
    {
        using IBackend backend = CpuBackend.Create(threads);
        LinearWeights WeightsOf(DType type) => new(Weights(backend, type, outputs, inputs));
        LinearWeights floats = WeightsOf(DType.F32), brains = WeightsOf(DType.BF16), halves = WeightsOf(DType.F16);
        Tensor input = backend.Allocate(DType.F32, rows, inputs), output = backend.Allocate(DType.F32, rows, outputs);
        backend.Upload(MemoryMarshal.AsBytes<float>(Values(rows * inputs)), DType.F32, input);
        double operations = 2.0 * rows * inputs * outputs;
        int turns = (int)Math.Clamp(2e11 / operations, 7, 100);
        string name = $"{rows} x {inputs} x {outputs}";
        void Ours(LinearWeights weights) => backend.Linear(output, new LinearInput(input), weights);

        double[] times = Alternate(turns, () => Ours(floats), () => Ours(brains), () => Ours(halves));
        string[] rates = [.. times.Select(time => $"{operations / time / 1e9:F0} GFLOP/s")];
        Print($"BF16 {name}", rates[1], "F32", rates[0], times[0] / times[1]);
        Print($"F16 {name}", rates[2], "BF16", rates[1], times[1] / times[2]);
        if (!Libtorch.IsPresent)
        {
            Console.WriteLine("libtorch is not in this build; -p:WithLibtorch=true fetches it.");
            return;
        }
        Libtorch.SetThreads(threads);
        Tensor rowMajor = backend.Allocate(DType.F32, outputs, inputs), theirs = backend.Allocate(DType.F32, rows, outputs);
        backend.Upload(MemoryMarshal.AsBytes<float>(Values(outputs * inputs)), DType.F32, rowMajor);
        nint left = Libtorch.View((float*)input.Data, rows, inputs, transposed: false), right = Libtorch.View((float*)rowMajor.Data, outputs, inputs, transposed: true);
        nint target = Libtorch.View((float*)theirs.Data, rows, outputs, transposed: false);
        double[] rivals = Alternate(turns, () => Libtorch.Multiply(target, left, right), () => Ours(floats));
        Print($"F32 {name}", $"{operations / rivals[1] / 1e9:F0} GFLOP/s", "libtorch", $"{operations / rivals[0] / 1e9:F0} GFLOP/s", rivals[0] / rivals[1]);
        foreach (nint tensor in new[] { left, right, target }) Libtorch.Delete(tensor);
    }

    // The median seconds of each, by turns. Turns before that warm up, until the runtime has compiled the hot code anew.
    internal static double[] Alternate(int turns, params Action[] rivals)
    {
        const double WarmUpSeconds = 0.7;
        double[][] seconds = [.. rivals.Select(_ => new double[turns])];
        long begin = Stopwatch.GetTimestamp();
        do Array.ForEach(rivals, rival => rival());
        while (Stopwatch.GetElapsedTime(begin).TotalSeconds < WarmUpSeconds);
        for (int turn = 0; turn < turns; turn++)
        {
            for (int i = 0; i < rivals.Length; i++)
            {
                long start = Stopwatch.GetTimestamp();
                rivals[i]();
                seconds[i][turn] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            }
        }
        foreach (double[] times in seconds) times.Sort();
        return [.. seconds.Select(times => times[turns / 2])];
    }

    internal static void Print(string name, string ours, string rival, string theirs, double ratio) => Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name,-32} {ours,14}   {rival,-10} {theirs,14}   ratio {ratio:F2}"));

    internal static Tensor Weights(IBackend backend, DType type, int rows, int columns)
    {
        const int RowsAtOnce = 256;
        Tensor tensor = backend.AllocateWeights(type, rows, columns);
        for (int row = 0; row < rows; row += RowsAtOnce) backend.Upload(MemoryMarshal.AsBytes<float>(Values(Math.Min(RowsAtOnce, rows - row) * columns)), DType.F32, tensor, row);
        return tensor;
    }

    internal static float[] Values(int count)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) values[i] = (((i * 2654435761L) >> 8) & 0xFFFF) / 65536f - 0.5f;
        return values;
    }
}
