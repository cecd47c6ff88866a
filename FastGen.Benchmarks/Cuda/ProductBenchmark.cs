using System.Globalization;
using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Benchmarks.Cuda;

/// <summary>
/// Each product of a decode step by itself: `cuda --products [--rows 1,8,16,32,64,128] [--only NAME]`, by our kernels and by cuBLASLt. A recorded
/// chain of the same product over weights that exceed the second-level cache several times over; microseconds of one.
/// </summary>
internal static class ProductBenchmark
{
    private const long BytesRotated = 320L << 20;
    private const long BytesAChain = 3L << 30;
    private const int Runs = 5;

    public static void Run(IReadOnlyList<int> rowCounts, string? only)
    {
        foreach (LlamaShape shape in (LlamaShape[])[LlamaShape.Llama8B, LlamaShape.Qwen06B])
        {
            foreach (Product product in (Product[])
            [
                new("qkv", shape.QkvColumns, shape.Hidden, Normed: true), new("o", shape.Hidden, shape.Heads * shape.HeadDim, Added: true), new("gate-up", shape.Mlp, shape.Hidden, Gated: true, Normed: true),
                new("down", shape.Hidden, shape.Mlp, Added: true), new("head", shape.Vocabulary, shape.Hidden, Normed: true, Out: DType.F32),
            ])
            {
                string label = $"{shape.Name} {product.Name}";
                if (only is not null && !label.Contains(only, StringComparison.OrdinalIgnoreCase)) continue;
                foreach ((string kind, CudaOptions options) in ((string, CudaOptions)[])[("ours", new CudaOptions()), ("without few_rows", new CudaOptions { FewRows = 0 }), ("cuBLASLt", new CudaOptions { FewRows = 0, SkinnyRows = 0 })])
                {
                    using CudaBackend backend = new(options: options);
                    Measure(backend, $"{label}, {kind}", product, rowCounts);
                }
            }
        }
    }

    private static void Measure(CudaBackend backend, string label, Product product, IReadOnlyList<int> rowCounts)
    {
        int weightRows = product.Gated ? 2 * product.Outputs : product.Outputs;
        long bytes = 2L * weightRows * product.Columns;
        int buffers = (int)Math.Clamp(BytesRotated / bytes, 1, 64) + 1, launches = (int)Math.Clamp(BytesAChain / bytes, 4, 128);
        byte[] pattern = Pattern();
        NormWeights? norm = product.Normed ? new NormWeights(NormKind.Rms, Filled(backend, pattern, 1, product.Columns, DType.F32), null, 1e-5f) : null;
        LinearWeights[] weights = [.. Enumerable.Range(0, buffers).Select(_ => new LinearWeights(Filled(backend, pattern, weightRows, product.Columns, DType.BF16)))];
        foreach (int rows in rowCounts)
        {
            LinearInput input = new(Filled(backend, pattern, rows, product.Columns, product.Normed ? DType.F32 : DType.BF16), norm);
            Tensor output = backend.Allocate(product.Added ? DType.F32 : product.Out, rows, product.Outputs);
            void Queue()
            {
                for (int i = 0; i < launches; i++)
                {
                    if (product.Gated) backend.GatedLinear(output, input, weights[i % buffers], Activation.Silu);
                    else backend.Linear(output, input, weights[i % buffers], accumulate: product.Added);
                }
            }
            double time = backend.TimeRecorded(Queue, Runs) / launches;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{label,-30} {rows,3} rows {time,8:F2} µs {bytes / time / 1e6,5:F2} TB/s"));
        }
    }

    private static byte[] Pattern()
    {
        byte[] bytes = new byte[8 << 20];
        Random random = new(3);
        Span<ushort> values = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ushort>(bytes.AsSpan());
        for (int i = 0; i < values.Length; i++) values[i] = (ushort)(BitConverter.SingleToUInt32Bits((random.NextSingle() - 0.5f) / 16) >> 16);
        return bytes;
    }

    private static Tensor Filled(CudaBackend backend, byte[] pattern, int rows, int columns, DType type)
    {
        Tensor tensor = backend.AllocateWeights(type, rows, columns);
        int piece = pattern.Length / (2 * columns);
        for (int row = 0; row < rows; row += piece) backend.Upload(pattern.AsSpan(0, 2 * columns * Math.Min(piece, rows - row)), DType.BF16, tensor, row);
        return tensor;
    }

    private sealed record Product(string Name, int Outputs, int Columns, bool Gated = false, bool Added = false, bool Normed = false, DType Out = DType.BF16);
}
