using System.Globalization;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Products;

namespace FastGen.Benchmarks.Cuda;

/// <summary>
/// Each product of a decode step cut in other ways, in the whole step: `cuda --tune [--shape llama|qwen] [--rows 1,8,64]`. What a product takes
/// alone says little of what it takes between others.
/// </summary>
internal static class TuneBenchmark
{
    private const int MaxContext = 8192;
    private const int Context = 512;
    private const int Steps = 24;

    private static readonly GemvCut[] GemvCuts = [new(1, 2, 4), new(1, 4, 2), new(2, 1, 2), new(2, 1, 4), new(2, 2, 2), new(3, 1, 4), new(3, 2, 8)];

    public static void Run(CudaOptions options, string? only, IReadOnlyList<int> rowCounts)
    {
        foreach (LlamaShape shape in (LlamaShape[])[LlamaShape.Llama8B, LlamaShape.Qwen06B])
        {
            if (only is not null && !shape.Name.Contains(only, StringComparison.OrdinalIgnoreCase)) continue;
            using CudaBackend backend = new(options: options with { SkinnyRows = 128 });
            LlamaShapedModel model = new(backend, shape, MaxContext);
            int most = rowCounts.Max();
            StepRunner runner = new(backend, model, new StepLimits(8192, most, 16, MaxContext / 16), cachedTokens: 1000 * most);
            foreach (int rows in rowCounts) Measure(backend, shape, runner, rows);
        }
    }

    private static void Measure(CudaBackend backend, LlamaShape shape, StepRunner runner, int rows)
    {
        runner.Prefill(rows, Context);
        double Microseconds()
        {
            backend.ForgetRecordings();
            double best = double.PositiveInfinity;
            for (int i = 0; i < 2; i++)
            {
                runner.Rewind(rows, Context);
                if (i == 0) runner.Decode(rows, 6);
                runner.Rewind(rows, Context);
                best = Math.Min(best, runner.Decode(rows, Steps) / Steps * 1e6);
            }
            return best;
        }
        void Print(string name, string variant, double time) => Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{shape.Name} {rows,3} rows  {name,-8} {variant,-64} {time,8:F1} µs a step"));
        Print("all", "as chosen", Microseconds());
        foreach ((string name, ProductSize size) in ((string, ProductSize)[])
        [
            ("qkv", new(shape.QkvColumns, shape.Hidden, false)), ("o", new(shape.Hidden, shape.Heads * shape.HeadDim, false)), ("gate-up", new(shape.Mlp, shape.Hidden, true)),
            ("down", new(shape.Hidden, shape.Mlp, false)), ("head", new(shape.Vocabulary, shape.Hidden, false)),
        ])
        {
            if (rows <= 4)
            {
                foreach (GemvCut cut in GemvCuts)
                {
                    backend.ForcedGemv = asked => asked == size ? cut : null;
                    Print(name, cut.ToString(), Microseconds());
                }
                backend.ForcedGemv = null;
                continue;
            }
            Print(name, $"{SkinnyTile.For(size, rows, backend.Multiprocessors)} as chosen", 0);
            foreach (SkinnyTile tile in Candidates(shape, name, rows))
            {
                if (tile.SharedBytes(rows) > 226 << 10) continue;
                backend.ForcedTile = asked => asked == size ? tile : null;
                Print(name, tile.ToString(), Microseconds());
            }
            backend.ForcedTile = null;
        }
        Print("all", "as chosen", Microseconds());
    }

    private static SkinnyTile[] Candidates(LlamaShape shape, string name, int rows) => (shape == LlamaShape.Llama8B, name, rows) switch
    {
        (true, "qkv", <= 16) => [new(64, 4, 5, 1, 1), new(64, 4, 3, 1, 1), new(96, 4, 3, 1, 2), new(48, 4, 4, 1, 1), new(128, 2, 5, 1, 2)],
        (true, "o", <= 16) => [new(64, 4, 3, 2, 1), new(64, 4, 6, 2, 1), new(32, 4, 8, 1, 1)],
        (true, "gate-up", <= 16) => [new(224, 2, 3, 1, 2), new(224, 1, 7, 1, 2), new(112, 2, 6, 1, 2)],
        (true, "down", <= 16) => [new(64, 4, 6, 2, 1), new(64, 2, 10, 2, 1), new(128, 2, 5, 4, 2)],
        (true, "head", <= 16) => [new(248, 1, 6, 1, 2), new(248, 1, 3, 1, 2)],
        (true, "qkv", <= 64) => [new(48, 2, 7, 1, 1), new(64, 4, 3, 1, 1), new(96, 2, 4, 1, 2), new(96, 2, 5, 1, 2), new(128, 2, 4, 1, 2), new(64, 2, 6, 1, 1) { Lag = true }, new(64, 1, 12, 1, 1) { Lag = true }],
        (true, "o", <= 64) => [new(64, 2, 4, 2, 1), new(64, 4, 3, 2, 1), new(64, 2, 6, 2, 1) { Lag = true }, new(128, 2, 4, 4, 2), new(64, 1, 12, 2, 1) { Lag = true }],
        (true, "gate-up", <= 64) => [new(112, 1, 4, 1, 2) { Lag = true }, new(112, 2, 2, 1, 2), new(224, 1, 5, 1, 2) { Lag = true }],
        (true, "down", <= 64) => [new(64, 2, 6, 2, 1) { Lag = true }, new(64, 1, 12, 2, 1) { Lag = true }, new(64, 4, 3, 2, 1), new(128, 2, 4, 4, 2)],
        (true, "head", <= 64) => [new(248, 1, 5, 1, 2), new(128, 1, 4, 1, 2) { Lag = true }],
        (true, "qkv", _) => [new(96, 1, 7, 2, 2), new(96, 1, 7, 2, 2) { Lag = true }, new(96, 1, 7, 1, 2), new(96, 1, 7, 1, 2) { Lag = true }, new(64, 2, 4, 1, 1) { Lag = true }, new(48, 2, 4, 1, 1) { Lag = true }, new(128, 1, 6, 1, 2) { Lag = true }],
        (true, "o", _) => [new(64, 2, 4, 2, 1) { Lag = true }, new(64, 1, 8, 2, 1) { Lag = true }, new(128, 1, 6, 4, 2)],
        (true, "gate-up", _) => [new(112, 1, 3, 1, 2) { Lag = true }, new(224, 1, 4, 1, 2) { Lag = true }, new(224, 1, 4, 1, 4) { Lag = true }],
        (true, "down", _) => [new(64, 2, 4, 2, 1) { Lag = true }, new(64, 1, 8, 2, 1) { Lag = true }, new(128, 1, 6, 4, 2) { Lag = true }],
        (true, "head", _) => [new(128, 1, 3, 1, 2) { Lag = true }, new(248, 1, 4, 1, 2) { Lag = true }],
        (false, "qkv", <= 16) => [new(32, 4, 2, 1, 1), new(32, 2, 4, 1, 1), new(64, 4, 4, 1, 1), new(64, 4, 2, 1, 1), new(64, 4, 1, 4, 1)],
        (false, "o", <= 16) => [new(64, 2, 4, 4, 1), new(64, 4, 1, 8, 1), new(32, 4, 4, 2, 1), new(16, 4, 4, 2, 1)],
        (false, "gate-up", <= 16) => [new(48, 4, 2, 1, 1), new(64, 4, 4, 1, 1), new(96, 4, 4, 1, 2), new(96, 4, 2, 1, 2)],
        (false, "down", <= 16) => [new(64, 2, 6, 4, 1), new(64, 4, 2, 8, 1), new(32, 4, 3, 4, 1), new(32, 4, 6, 2, 1)],
        (false, "qkv", _) => [new(32, 2, 4, 1, 1), new(32, 1, 8, 1, 1), new(64, 2, 3, 1, 1), new(64, 4, 3, 1, 1), new(64, 2, 6, 1, 1), new(128, 2, 2, 4, 2), new(64, 4, 1, 4, 1), new(64, 4, 2, 2, 1), new(64, 2, 3, 2, 1), new(96, 2, 3, 1, 2)],
        (false, "o", _) => [new(64, 2, 4, 4, 1), new(64, 2, 3, 4, 1), new(32, 4, 4, 2, 1), new(32, 4, 2, 2, 1), new(64, 4, 2, 2, 1)],
        (false, "gate-up", _) => [new(48, 4, 3, 1, 1), new(48, 4, 2, 1, 1), new(64, 4, 3, 1, 1), new(64, 2, 3, 1, 1), new(96, 2, 2, 1, 2), new(96, 2, 5, 1, 2), new(96, 4, 2, 1, 2), new(128, 2, 4, 1, 2)],
        (false, "down", _) => [new(64, 2, 3, 4, 1), new(64, 2, 4, 4, 1), new(64, 2, 6, 4, 1), new(32, 4, 3, 2, 1), new(32, 4, 2, 2, 1), new(64, 4, 2, 2, 1)],
        _ => [new(128, 2, 4, 1, 2), new(64, 2, 3, 1, 1)],
    };
}
