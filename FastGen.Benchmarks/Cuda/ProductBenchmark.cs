using System.Globalization;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Products;

namespace FastGen.Benchmarks.Cuda;

/// <summary>
/// Each product of a decode step by itself, for each way to cut it: `cuda --products [--rows 8,16,32,64,128] [--only NAME]`. A recorded chain of
/// the same product over weights that exceed the second-level cache several times over; microseconds of one.
/// </summary>
internal static class ProductBenchmark
{
    private const long BytesRotated = 320L << 20;
    private const long BytesAChain = 3L << 30;
    private const int SharedBytesUsable = 226 << 10;

    private static readonly int[] TileRows = [16, 32, 48, 64, 96, 112, 128, 192, 224, 240, 248, 256];

    public static void Run(IReadOnlyList<int> rowCounts, string? only)
    {
        foreach (LlamaShape shape in (LlamaShape[])[LlamaShape.Llama8B, LlamaShape.Qwen06B])
        {
            foreach ((string name, int outputs, int columns, bool gated, bool accumulate) in ((string, int, int, bool, bool)[])
            [
                ("qkv", shape.QkvColumns, shape.Hidden, false, false), ("o", shape.Hidden, shape.Heads * shape.HeadDim, false, true), ("gate-up", shape.Mlp, shape.Hidden, true, false),
                ("down", shape.Hidden, shape.Mlp, false, true), ("head", shape.Vocabulary, shape.Hidden, false, false),
            ])
            {
                string label = $"{shape.Name} {name}";
                if (only is not null && !label.Contains(only, StringComparison.OrdinalIgnoreCase)) continue;
                using CudaBackend own = new(options: new CudaOptions { SkinnyRows = 128 }), library = new(options: new CudaOptions { SkinnyRows = 0 });
                Measure(own, library, label, outputs, columns, gated, accumulate, rowCounts);
            }
        }
    }

    private static void Measure(CudaBackend own, CudaBackend library, string label, int outputs, int columns, bool gated, bool accumulate, IReadOnlyList<int> rowCounts)
    {
        int weightRows = gated ? 2 * outputs : outputs;
        long bytes = 2L * weightRows * columns;
        int buffers = (int)Math.Clamp(BytesRotated / bytes, 1, 64) + 1, launches = (int)Math.Clamp(BytesAChain / bytes, 4, 128);
        byte[] pattern = Pattern();
        Tensor gamma = Filled(own, pattern, 1, columns, DType.F32);
        NormWeights rms = new(NormKind.Rms, gamma, null, 1e-5f);
        double TimeWith(CudaBackend backend, LinearWeights[] weights, int rows, SkinnyTile? tile, bool normed = false)
        {
            bool head = outputs > 100_000;
            Tensor input = Filled(backend, pattern, rows, columns, normed ? DType.F32 : DType.BF16);
            NormWeights? norm = normed ? rms : null;
            Tensor output = backend.Allocate(accumulate || head ? DType.F32 : DType.BF16, rows, outputs);
            backend.ForcedTile = _ => tile;
            double time = backend.TimeRecorded(
                () =>
                {
                    for (int i = 0; i < launches; i++)
                    {
                        if (gated) backend.GatedLinear(output, new LinearInput(input, norm), weights[i % buffers], Activation.Silu);
                        else backend.Linear(output, new LinearInput(input, norm), weights[i % buffers], accumulate: accumulate);
                    }
                },
                runs: 5) / launches;
            backend.ForcedTile = null;
            return time;
        }
        void Print(int rows, string variant, double time) =>
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{label,-18} {rows,3} rows  {variant,-44} {time,8:F2} µs  {bytes / time / 1e6,5:F2} TB/s"));
        LinearWeights[] matrices = [.. Enumerable.Range(0, buffers).Select(_ => new LinearWeights(Filled(own, pattern, weightRows, columns)))];
        LinearWeights[] libraryMatrices = [.. Enumerable.Range(0, buffers).Select(_ => new LinearWeights(Filled(library, pattern, weightRows, columns)))];
        foreach (int rows in rowCounts)
        {
            Print(rows, "as chosen", TimeWith(own, matrices, rows, null));
            if (!accumulate) Print(rows, "as chosen, with norm", TimeWith(own, matrices, rows, null, normed: true));
            if (rows <= 4)
            {
                foreach (GemvCut cut in (GemvCut[])[new(1, 1, 4), new(1, 2, 4), new(1, 4, 4), new(2, 1, 2), new(2, 1, 4), new(2, 1, 8), new(2, 2, 4), new(3, 1, 2), new(3, 1, 4), new(4, 1, 2), new(4, 1, 4)])
                {
                    if (cut.Unroll * (rows == 3 ? 4 : rows) > 32) continue;
                    own.ForcedGemv = _ => cut;
                    Print(rows, cut.ToString(), TimeWith(own, matrices, rows, null));
                    if (!accumulate) Print(rows, $"{cut}, with norm", TimeWith(own, matrices, rows, null, normed: true));
                    own.ForcedGemv = null;
                }
                continue;
            }
            Print(rows, "cuBLASLt and epilogue", TimeWith(library, libraryMatrices, rows, null));
            foreach (SkinnyTile tile in Tiles(own.Multiprocessors, outputs, columns, gated, rows))
            {
                try
                {
                    Print(rows, tile.ToString()[11..], TimeWith(own, matrices, rows, tile));
                }
                catch (CudaException exception)
                {
                    Console.WriteLine($"{label} {rows} {tile}: {exception.Message}");
                }
            }
        }
    }

    // Cuts that spread the weights evenly, with one large or two smaller rings a multiprocessor.
    private static IEnumerable<SkinnyTile> Tiles(int multiprocessors, int outputs, int columns, bool gated, int rows)
    {
        HashSet<SkinnyTile> seen = [];
        foreach (int splits in (int[])[1, 2, 4, 8])
        {
            foreach (int height in TileRows)
            {
                if (gated && height % 16 != 0) continue;
                int own = gated ? height / 2 : height, tiles = (outputs + own - 1) / own, count = tiles * splits, groups = height > 64 ? 2 : 1, columnBlocks = columns / 64 / splits;
                bool many = count > 2 * multiprocessors;
                double evenness = (double)outputs * splits / own / (multiprocessors * ((count + multiprocessors - 1) / multiprocessors));
                if (columnBlocks < 2 || (many ? splits > 1 || (height != 64 && height != 128 && height != 248) : evenness < 0.88)) continue;
                foreach (int perMultiprocessor in (int[])[1, 2])
                {
                    if ((!many && count > multiprocessors && perMultiprocessor == 1) || (splits >= 4 && perMultiprocessor == 1)) continue;
                    foreach (int blocks in (int[])[1, 2, 4])
                    {
                        int room = (SharedBytesUsable / perMultiprocessor) - 2048 - 8192, stage = (height + Math.Max(rows, 8)) * 128 * blocks;
                        int stages = Math.Min(Math.Min(room / stage, (columnBlocks + blocks - 1) / blocks), 16);
                        if (stages < 2 && stages * blocks < columnBlocks) continue;
                        if (blocks > 1 && stages < 3 && stages * blocks < columnBlocks) continue;
                        SkinnyTile tile = new(height, blocks, stages, splits, groups);
                        if (tile.SharedBytes(rows) > SharedBytesUsable / perMultiprocessor || !seen.Add(tile)) continue;
                        yield return tile;
                    }
                }
            }
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

    private static Tensor Filled(CudaBackend backend, byte[] pattern, int rows, int columns, DType type = DType.BF16)
    {
        Tensor tensor = backend.AllocateWeights(type, rows, columns);
        int piece = pattern.Length / (2 * columns);
        for (int row = 0; row < rows; row += piece) backend.Upload(pattern.AsSpan(0, 2 * columns * Math.Min(piece, rows - row)), DType.BF16, tensor, row);
        return tensor;
    }
}
