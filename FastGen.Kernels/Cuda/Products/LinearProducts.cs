using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Linear maps with the norm before and the bias, activation and sum after them, by the kernel that suits the number of rows.</summary>
internal sealed class LinearProducts(CudaDevice device, KernelLibrary kernels, CudaScratch scratch, ProductChoices choices, CudaOptions options) : IDisposable
{
    private const int Tile = 64;
    private const int DeterministicRows = 128;

    // Of more, the gemv's registers leave too few loads in flight; the tensor cores' kernel for eight rows takes less.
    private const int GemvRows = 2;

    private readonly CublasProducts _cublas = new(device, scratch, choices);
    private readonly GemvProducts _gemv = new(device, kernels);
    private readonly FewRowsProducts _fewRows = new(device, kernels, options.FewRows);
    private readonly SkinnyProducts _skinny = new(device, kernels, options.Deterministic ? DeterministicRows : options.SkinnyRows);
    private readonly DividedNorms? _norms = options.Deterministic ? null : new DividedNorms(device, scratch);
    private readonly GemmProducts _gemm = new(device, kernels, options.LeastTileUse);
    private readonly Dictionary<(nint Data, DType Type), Tensor> _biases = [];

    /// <summary>Whether a weight matrix has one kernel at every number of rows, so that a row's bits do not depend on the others.</summary>
    public bool IsDeterministic => options.Deterministic;

    /// <summary>Takes the memory that products need beside their operands, for a residual stream of <paramref name="columns"/> columns, so that nothing grows later.</summary>
    public void Prepare(int columns)
    {
        _norms?.Prepare(columns);
        if (!IsDeterministic) _cublas.TakeWorkspace();
    }

    /// <summary>output = norm(input), row by row.</summary>
    public void Norm(Tensor output, Tensor input, NormWeights weights)
    {
        // Many rows: several vectors a thread, and more rows at a time.
        int vectors = input.Rows >= 2 * device.Multiprocessors && !IsDeterministic ? 4 : 1;
        NormArguments arguments = new() { Input = input.Data, Output = output.Data, Gamma = weights.Gamma.Data, Beta = weights.Beta?.Data ?? 0, Epsilon = weights.Epsilon, Columns = input.Columns };
        kernels.Get("rows", "norm_rows", new KernelConstants { In = input.Type, Out = output.Type, Norm = weights.Kind == NormKind.Rms ? 1 : 2 })
            .Launch(arguments, (input.Rows, 1, 1), threads: Math.Clamp(((input.Columns / (8 * vectors)) + 31) / 32 * 32, 32, 512));
    }

    /// <summary>output = activation(norm(input) · weightᵀ + bias), added to what output holds when <paramref name="accumulate"/>.</summary>
    public void Linear(Tensor output, in LinearInput input, LinearWeights weights, Activation activation, bool accumulate)
    {
        if (TryRowProduct(output, input, weights, activation, gated: false, accumulate)) return;
        if (ServedBySkinny(input.Rows, weights.Weight))
        {
            RunSkinny(output, input, weights, activation, gated: false, accumulate);
            return;
        }
        Tensor rows = Prepared(input, weights.Weight.Type);
        // What cuBLASLt adds and activates itself it does at less cost than gemm.cu, whose tensor cores wait meanwhile.
        bool inCublas = weights.Bias is not null && CublasProducts.Activates(activation) && (activation == Activation.None || output.Type != DType.F32);
        if (!inCublas && TryGemm(output, rows, weights, activation, gated: false, accumulate)) return;
        if (activation == Activation.None && weights.Bias is null && CanWrite(output.Type, weights.Weight.Type))
        {
            Multiply(output, rows, weights.Weight, accumulate);
            return;
        }
        // cuBLASLt's activations are exact enough for results of 16 bits.
        if (weights.Bias is { } bias && CanWrite(output.Type, weights.Weight.Type) && (activation == Activation.None || output.Type != DType.F32) && !IsDeterministic)
        {
            RequireShapes(output, rows, weights.Weight);
            if (_cublas.TryMultiply(output, rows, weights.Weight, BiasIn(output.Type, bias), activation, accumulate)) return;
        }
        Tensor product = scratch.Matrix(ScratchUse.Product, DType.F32, output.Rows, weights.Outputs);
        Multiply(product, rows, weights.Weight, accumulate: false);
        Epilogue(output, product, weights.Bias, activation, gated: false, accumulate);
    }

    /// <summary>output = activation(g) ⊙ u, where [g | u] = norm(input) · gateUpᵀ + bias.</summary>
    public void Gated(Tensor output, in LinearInput input, LinearWeights gateUp, Activation activation)
    {
        if (TryRowProduct(output, input, gateUp, activation, gated: true, accumulate: false)) return;
        if (ServedBySkinny(input.Rows, gateUp.Weight) && output.Columns % 8 == 0)
        {
            RunSkinny(output, input, gateUp, activation, gated: true, accumulate: false);
            return;
        }
        Tensor rows = Prepared(input, gateUp.Weight.Type);
        if (TryGemm(output, rows, gateUp, activation, gated: true, accumulate: false)) return;
        Tensor product = scratch.Matrix(ScratchUse.Gated, gateUp.Weight.Type, output.Rows, gateUp.Outputs);
        Multiply(product, rows, gateUp.Weight, accumulate: false);
        Epilogue(output, product, gateUp.Bias, activation, gated: true, accumulate: false);
    }

    /// <summary>
    /// Two products of norm(input) in one kernel: output = norm(input) · weightᵀ + bias, and of <paramref name="second"/> activation(norm(input) · weightᵀ + bias).
    /// False where no kernel has both, and nothing is done.
    /// </summary>
    public bool TryBeside(Tensor output, in LinearInput input, LinearWeights weights, SecondProduct second, Activation activation)
    {
        (Tensor one, Tensor other) = (weights.Weight, second.Weights!.Weight);
        if (IsDeterministic || other.Type != one.Type || second.Rows.Type != one.Type || output.Type != DType.F32) return false;
        RequireShapes(output, input.Rows, one);
        RequireShapes(second.Rows, input.Rows, other);
        int rows = input.Rows.Rows;
        if (_fewRows.Suits(rows, one) && _fewRows.Suits(rows, other))
        {
            LinearInput operand = FewRowsProducts.FusesNorm(input) ? input : new LinearInput(Prepared(input, one.Type));
            _fewRows.Run(output, operand, half: null, weights, activation, gated: false, accumulate: false, second);
        }
        else if (rows <= GemvRows && _gemv.Serves(input, one))
        {
            _gemv.Run(output, input, weights, activation, gated: false, accumulate: false, second);
        }
        else if (ServedBySkinny(input.Rows, one) && ServedBySkinny(input.Rows, other))
        {
            _skinny.Run(output, Prepared(input, one.Type), half: null, norms: null, weights, activation, gated: false, accumulate: false, second);
        }
        else
        {
            return false;
        }
        return true;
    }

    /// <summary>output += input · weightᵀ + bias of two products in one kernel; false where none has both, and nothing is done.</summary>
    public bool TryJoined(Tensor output, Tensor input, LinearWeights weights, SecondProduct second)
    {
        (Tensor one, Tensor other) = (weights.Weight, second.Weights!.Weight);
        if (IsDeterministic || input.Type != one.Type || other.Type != one.Type || second.Rows.Type != one.Type) return false;
        RequireShapes(output, input, one);
        RequireShapes(output, second.Rows, other);
        LinearInput rows = new(input);
        if (input.Rows <= GemvRows && _gemv.Serves(rows, one) && _gemv.Serves(rows, other) && _gemv.Holds(input.Rows, one.Columns + other.Columns))
        {
            _gemv.Run(output, rows, weights, Activation.None, gated: false, accumulate: true, second);
        }
        else if (ServedBySkinny(input, one) && ServedBySkinny(input, other) && one.Columns % TensorMaps.BoxColumns == 0)
        {
            _skinny.Run(output, input, half: null, norms: null, weights, Activation.None, gated: false, accumulate: true, second);
        }
        else
        {
            return false;
        }
        return true;
    }

    /// <summary>Queries, keys and values with all that store_kv.cu does to them, in their product's kernel; false where that does not serve or does not suit, and nothing is done.</summary>
    public bool TryHeads(Tensor qkv, in LinearInput input, LinearWeights weights, KvLayer cache, AttentionWeights attention, int pageTokens, BatchView view)
    {
        if (IsDeterministic || ServedBySkinny(input.Rows, weights.Weight) || !_gemm.Serves(qkv, weights.Weight, cache, attention, pageTokens)) return false;
        bool suits = _gemm.Suits(qkv.Rows, weights.Outputs);
        if (suits || device.Rehearsal is not null) _gemm.RunHeads(qkv, Prepared(input, weights.Weight.Type), weights, cache, attention, view);
        return suits;
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

    // Of few rows, with the norm in the kernel where it has it, else with one before.
    private bool TryRowProduct(Tensor output, in LinearInput input, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        if (IsDeterministic) return false;
        Tensor weight = weights.Weight;
        if (_fewRows.Suits(input.Rows.Rows, weight))
        {
            bool fused = FewRowsProducts.FusesNorm(input);
            HalfNorm? half = fused ? null : _norms?.Take(input, weight);
            _fewRows.Run(output, fused ? input : new LinearInput(half?.Scaled ?? Prepared(input, weight.Type)), half, weights, activation, gated, accumulate);
            return true;
        }
        if (input.Rows.Rows > GemvRows && ServedBySkinny(input.Rows, weight)) return false;
        bool served = _gemv.Serves(input, weight);
        if (!served && (input.Norm is null || !_gemv.Serves(new LinearInput(input.Rows), weight))) return false;
        _gemv.Run(output, served ? input : new LinearInput(Prepared(input, weight.Type)), weights, activation, gated, accumulate);
        return true;
    }

    // A rehearsal notes this way beside the others: which one suits follows from numbers of rows that it does not try.
    private bool TryGemm(Tensor output, Tensor rows, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        if (IsDeterministic || !_gemm.Serves(output, weights.Weight, accumulate)) return false;
        RequireShapes(output, rows, weights.Weight, gated);
        bool suits = _gemm.Suits(rows.Rows, weights.Outputs);
        if (suits || device.Rehearsal is not null) _gemm.Run(output, rows, weights, activation, gated, accumulate);
        return suits;
    }

    // Rows beyond what the kernel takes at once only come here where it serves every number of them.
    private bool ServedBySkinny(Tensor rows, Tensor weight) => _skinny.Serves(IsDeterministic ? 1 : rows.Rows, weight);

    private void RunSkinny(Tensor output, in LinearInput input, LinearWeights weights, Activation activation, bool gated, bool accumulate)
    {
        HalfNorm? half = _norms?.Take(input, weights.Weight);
        Tensor rows = half?.Scaled ?? Prepared(input, weights.Weight.Type);
        int most = IsDeterministic ? DeterministicRows : rows.Rows;
        for (int first = 0; first < rows.Rows; first += most)
        {
            int count = Math.Min(most, rows.Rows - first);
            _skinny.Run(RowsOf(output, first, count), RowsOf(rows, first, count), half, _norms, weights, activation, gated, accumulate);
        }
    }

    private static Tensor RowsOf(Tensor matrix, int first, int count) =>
        new(matrix.Data + (nint)((long)first * matrix.Columns * matrix.Type.Size()), matrix.Type, count, matrix.Columns);

    private static bool CanWrite(DType output, DType weight) => output == DType.F32 || output == weight;

    private static void RequireShapes(Tensor output, Tensor input, Tensor weight, bool gated = false)
    {
        if (input.Columns == weight.Columns && output.Columns * (gated ? 2 : 1) == weight.Rows && output.Rows == input.Rows) return;
        throw new ArgumentException($"[{input.Rows}, {input.Columns}] times the transpose of [{weight.Rows}, {weight.Columns}] does not give [{output.Rows}, {output.Columns}].", nameof(output));
    }

    // cuBLASLt adds a bias of the output's type.
    private Tensor BiasIn(DType type, Tensor bias)
    {
        if (type == bias.Type || device.Rehearsal is not null) return bias;
        if (_biases.TryGetValue((bias.Data, type), out Tensor converted)) return converted;
        converted = new Tensor(device.Allocate((long)bias.Columns * type.Size(), MemoryUse.Activations), type, 1, bias.Columns);
        Epilogue(converted, bias, bias: null, Activation.None, gated: false, accumulate: false);
        return _biases[(bias.Data, type)] = converted;
    }

    private void Multiply(Tensor output, Tensor input, Tensor weight, bool accumulate)
    {
        RequireShapes(output, input, weight);
        if (!IsDeterministic && _cublas.TryMultiply(output, input, weight, accumulate)) return;
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
