using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Linear maps with the norm before and the bias, activation and sum after them, by the kernel that suits the number of rows.</summary>
internal sealed class LinearProducts(CudaDevice device, KernelLibrary kernels, CudaScratch scratch, CudaOptions options) : IDisposable
{
    /// <summary>Rows up to which products are not timed: alone they would be timed from the cache.</summary>
    public const int FewRows = 128;

    private const int Tile = 64;

    private readonly CublasProducts _cublas = new(device, scratch);
    private readonly GemvProducts _gemv = new(device, kernels);
    private readonly SkinnyProducts _skinny = new(device, kernels, options.SkinnyRows);
    private readonly GemmProducts _gemm = new(device, kernels);
    private readonly TimedChoice<ProductKey> _choice = new(device);

    /// <summary>output = norm(input), row by row.</summary>
    public void Norm(Tensor output, Tensor input, NormWeights weights)
    {
        // Many rows: several vectors a thread, and more rows at a time.
        int vectors = input.Rows >= 2 * device.Multiprocessors ? 4 : 1;
        NormArguments arguments = new() { Input = input.Data, Output = output.Data, Gamma = weights.Gamma.Data, Beta = weights.Beta?.Data ?? 0, Epsilon = weights.Epsilon, Columns = input.Columns };
        kernels.Get("rows", "norm_rows", new KernelConstants { In = input.Type, Out = output.Type, Norm = weights.Kind == NormKind.Rms ? 1 : 2 })
            .Launch(arguments, (input.Rows, 1, 1), threads: Math.Clamp(((input.Columns / (8 * vectors)) + 31) / 32 * 32, 32, 512));
    }

    /// <summary>output = activation(norm(input) · weightᵀ + bias), added to what output holds when <paramref name="accumulate"/>.</summary>
    public void Linear(Tensor output, in LinearInput input, LinearWeights weights, Activation activation, bool accumulate)
    {
        if (_gemv.Serves(input, weights.Weight))
        {
            _gemv.Run(output, input, weights, activation, gated: false, accumulate);
            return;
        }
        Tensor rows = Prepared(input, weights.Weight.Type);
        if (_skinny.Serves(rows.Rows, weights.Weight))
        {
            _skinny.Run(output, rows, weights, activation, gated: false, accumulate);
            return;
        }
        MultiplyMany(output, rows, weights, activation, gated: false, accumulate);
    }

    /// <summary>output = activation(g) ⊙ u, where [g | u] = norm(input) · gateUpᵀ + bias.</summary>
    public void Gated(Tensor output, in LinearInput input, LinearWeights gateUp, Activation activation)
    {
        if (_gemv.Serves(input, gateUp.Weight))
        {
            _gemv.Run(output, input, gateUp, activation, gated: true, accumulate: false);
            return;
        }
        Tensor rows = Prepared(input, gateUp.Weight.Type);
        if (_skinny.Serves(rows.Rows, gateUp.Weight) && output.Columns % 8 == 0)
        {
            _skinny.Run(output, rows, gateUp, activation, gated: true, accumulate: false);
            return;
        }
        MultiplyMany(output, rows, gateUp, activation, gated: true, accumulate: false);
    }

    /// <summary>Rows normalized, in the type that a product with weights of <paramref name="type"/> takes.</summary>
    public Tensor Prepared(in LinearInput input, DType type)
    {
        if (input.Norm is { } norm)
        {
            Tensor normed = scratch.Matrix(ScratchUse.Normed, type, input.Rows.Rows, input.Rows.Columns);
            Norm(normed, input.Rows, norm);
            return normed;
        }
        if (input.Rows.Type == type) return input.Rows;
        Tensor converted = scratch.Matrix(ScratchUse.Converted, type, input.Rows.Rows, input.Rows.Columns);
        Epilogue(converted, input.Rows, bias: null, Activation.None, gated: false, accumulate: false);
        return converted;
    }

    /// <summary>output = activation(input + bias), or of its halves [g | u] the gated product.</summary>
    public void Epilogue(Tensor output, Tensor input, Tensor? bias, Activation activation, bool gated, bool accumulate)
    {
        EpilogueArguments arguments = new() { Input = input.Data, Output = output.Data, Bias = bias?.Data ?? 0, Rows = output.Rows, Columns = output.Columns };
        long threads = (long)output.Rows * output.Columns / (output.Columns % 8 == 0 ? 8 : 1);
        kernels.Get("rows", "epilogue", new KernelConstants { In = input.Type, Out = output.Type, Activation = activation, Gated = gated, Accumulate = accumulate })
            .Launch(arguments, ((int)Math.Clamp((threads + 255) / 256, 1, 16 * device.Multiprocessors), 1, 1), threads: 256);
    }

    /// <summary>Products grouped by expert: rows [starts[e], starts[e + 1]) of the output are those of expert e.</summary>
    public void MultiplyGrouped(Tensor output, Tensor input, Tensor weight, nint starts, nint sources, int experts)
    {
        MatmulArguments arguments = new()
        {
            Input = input.Data,
            Weights = weight.Data,
            Output = output.Data,
            Rows = output.Rows,
            Columns = weight.Columns,
            Outputs = weight.Rows / experts,
            Starts = starts,
            Sources = sources,
            Experts = experts,
        };
        kernels.Get("matmul", "matmul", new KernelConstants { In = input.Type, Weight = weight.Type, Out = output.Type, Grouped = true })
            .Launch(arguments, ((arguments.Outputs + Tile - 1) / Tile, ((output.Rows + Tile - 1) / Tile) + experts, 1), threads: 256);
    }

    public void Dispose() => _cublas.Dispose();

    /// <summary>Rows that share one choice: beyond some, it hardly depends on them.</summary>
    public static int Bucket(int rows)
    {
        int step = rows <= 1024 ? 128 : rows <= 4096 ? 512 : 2048;
        return (rows + step - 1) / step * step;
    }

    // By whichever is faster on the data at hand, timed once for a bucket of rows: cuBLASLt and a kernel for what follows, or one kernel for all.
    private void MultiplyMany(Tensor output, Tensor rows, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        GemmTile tile = default;
        if (rows.Rows > FewRows && _gemm.Serves(output, rows, weights.Weight, accumulate))
        {
            ProductKey key = new(Bucket(rows.Rows), weights.Outputs, weights.Inputs, weights.Weight.Type, output.Type, activation, weights.Bias is not null, gated, accumulate);
            tile = options.ForcedGemm ?? Candidate(_choice.TryGet(key, out int chosen) ? chosen : Choose(key, rows, output.Columns, weights));
        }
        Multiply(tile, output, rows, weights, activation, gated, accumulate);
    }

    private static GemmTile Candidate(int index) => index == 0 ? default : GemmProducts.Tiles[index - 1];

    private int Choose(ProductKey key, Tensor rows, int columns, LinearWeights weights)
    {
        Tensor target = scratch.Matrix(ScratchUse.ChosenProduct, key.Out, rows.Rows, columns);
        return _choice.Fastest(key, GemmProducts.Tiles.Count + 1, candidate =>
        {
            Multiply(Candidate(candidate), target, rows, weights, key.Activation, key.Gated, key.Accumulate);
            return true;
        });
    }

    private void Multiply(GemmTile tile, Tensor output, Tensor rows, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        if (tile != default)
        {
            _gemm.Run(tile, output, rows, weights, activation, gated, accumulate);
            return;
        }
        if (!gated && activation == Activation.None && weights.Bias is null && CanWrite(output.Type, weights.Weight.Type))
        {
            Multiply(output, rows, weights.Weight, accumulate);
            return;
        }
        Tensor product = gated ? scratch.Matrix(ScratchUse.Gated, weights.Weight.Type, output.Rows, weights.Outputs) : scratch.Matrix(ScratchUse.Product, DType.F32, output.Rows, weights.Outputs);
        Multiply(product, rows, weights.Weight, accumulate: false);
        Epilogue(output, product, weights.Bias, activation, gated, accumulate);
    }

    private static bool CanWrite(DType output, DType weight) => output == DType.F32 || output == weight;

    private void Multiply(Tensor output, Tensor input, Tensor weight, bool accumulate)
    {
        if (input.Columns != weight.Columns || output.Columns != weight.Rows || output.Rows != input.Rows)
        {
            throw new ArgumentException($"[{input.Rows}, {input.Columns}] times the transpose of [{weight.Rows}, {weight.Columns}] does not give [{output.Rows}, {output.Columns}].", nameof(output));
        }
        if (_cublas.TryMultiply(output, input, weight, accumulate)) return;
        MatmulArguments arguments = new()
        {
            Input = input.Data,
            Weights = weight.Data,
            Output = output.Data,
            Rows = output.Rows,
            Columns = weight.Columns,
            Outputs = weight.Rows,
            Accumulate = accumulate ? 1 : 0,
        };
        kernels.Get("matmul", "matmul", new KernelConstants { In = input.Type, Weight = weight.Type, Out = output.Type })
            .Launch(arguments, ((weight.Rows + Tile - 1) / Tile, (output.Rows + Tile - 1) / Tile, 1), threads: 256);
    }

    private readonly record struct ProductKey(int Rows, int Outputs, int Inputs, DType Weight, DType Out, Activation Activation, bool Bias, bool Gated, bool Accumulate);

    [StructLayout(LayoutKind.Sequential)]
    private struct NormArguments
    {
        public nint Input, Output, Gamma, Beta;
        public float Epsilon;
        public int Columns;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct EpilogueArguments
    {
        public nint Input, Output, Bias;
        public int Rows, Columns;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct MatmulArguments
    {
        public nint Input, Weights, Output;
        public int Rows, Columns, Outputs;
        public nint Starts, Sources;
        public int Experts, Accumulate;
    }
}
