using FastGen.Compute;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products by cuBLASLt: its first proposal, or for numbers of rows that steps are filled to the fastest of several, chosen once and kept on disk.</summary>
internal sealed unsafe class CublasProducts : IDisposable
{
    private const int HeuristicsAsked = 8;
    private const long WorkspaceBytes = 64L << 20;
    private const int FewRows = 128;
    private const int MostPlans = 4096;
    private const int TimedTurns = 4;

    // Of the time of cuBLASLt's first proposal: what takes more is not worth leaving it for.
    private const float WorthLeaving = 0.97f;

    private readonly CudaDevice _device;
    private readonly CudaScratch _scratch;
    private readonly ProductChoices _choices;
    private readonly Dictionary<ProductShape, Plan?> _plans = [];
    private nint _handle, _workspace;

    public CublasProducts(CudaDevice device, CudaScratch scratch, ProductChoices choices) => (_device, _scratch, _choices) = (device, scratch, choices);

    /// <summary>output = input · weightᵀ, added to what it holds when <paramref name="accumulate"/>. False where cuBLASLt has no algorithm; a rehearsal takes it that there is one.</summary>
    public bool TryMultiply(Tensor output, Tensor input, Tensor weight, bool accumulate) => TryMultiply(output, input, weight, accumulate, Epilogue.None, 0);

    /// <summary>Whether cuBLASLt has such an activation to follow a bias.</summary>
    public static bool Activates(Activation activation) => EpilogueOf(activation) is not null;

    /// <summary>output = activation(input · weightᵀ + bias); without an activation, added to what it holds when <paramref name="accumulate"/>. The bias has the output's type.</summary>
    public bool TryMultiply(Tensor output, Tensor input, Tensor weight, Tensor bias, Activation activation, bool accumulate) =>
        EpilogueOf(activation) is { } epilogue && (!accumulate || activation == Activation.None) && TryMultiply(output, input, weight, accumulate, epilogue, bias.Data);

    /// <summary>Takes what all products share, if it is not there yet.</summary>
    public void TakeWorkspace()
    {
        if (_workspace == 0) _workspace = _device.Allocate(WorkspaceBytes, MemoryUse.Scratch);
    }

    public void Dispose()
    {
        ForgetPlans();
        if (_handle != 0) _ = CublasLt.cublasLtDestroy(_handle);
        _handle = 0;
    }

    private bool TryMultiply(Tensor output, Tensor input, Tensor weight, bool accumulate, Epilogue epilogue, nint bias)
    {
        if (_device.Rehearsal is not null) return true;
        ProductShape shape = new(input.Rows, weight.Rows, weight.Columns, weight.Type, output.Type, epilogue);
        if (!_plans.TryGetValue(shape, out Plan? plan))
        {
            if (_plans.Count == MostPlans) ForgetPlans();
            _plans[shape] = plan = Choose(shape, weight.Data, input.Data, accumulate ? null : output.Data, bias);
        }
        if (plan is null) return false;
        if (epilogue != Epilogue.None) plan.SetBias(bias);
        CublasLt.Check(Run(plan, plan.Algorithm, weight.Data, input.Data, output.Data, accumulate ? 1 : 0), nameof(CublasLt.cublasLtMatmul));
        return true;
    }

    // What is queued no longer needs them.
    private void ForgetPlans()
    {
        foreach (Plan? plan in _plans.Values) plan?.Dispose();
        _plans.Clear();
    }

    private static Epilogue? EpilogueOf(Activation activation) => activation switch
    {
        Activation.None => Epilogue.Bias,
        Activation.Relu => Epilogue.ReluBias,
        Activation.GeluTanh => Epilogue.GeluBias,
        _ => null,
    };

    private static int CudaType(DType type) => type switch
    {
        DType.F32 => 0,
        DType.F16 => 2,
        DType.BF16 => 14,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not a storage type."),
    };

    // Numbers of rows that are timed: the sizes that steps are filled to. What is the fastest for one of them may be slow for its neighbours, whose tiles end elsewhere.
    private static bool IsTimed(int rows) => rows > FewRows && rows % (rows <= 1024 ? 128 : rows <= 4096 ? 512 : 2048) == 0;

    private int Run(Plan plan, MatmulHeuristic algorithm, nint weight, nint input, nint output, float beta)
    {
        float alpha = 1;
        _device.CountLaunch();
        return CublasLt.cublasLtMatmul(_handle, plan.Operation, &alpha, weight, plan.Weight, input, plan.Input, &beta, output, plan.Output, output, plan.Output, &algorithm, _workspace, (nuint)WorkspaceBytes, _device.Stream);
    }

    // The fastest of cuBLASLt's proposals, timed once for a shape of these rows; of others, of few rows, and where there is no memory to time in, its first.
    private MatmulHeuristic Fastest(Plan plan, ProductShape shape, ReadOnlySpan<MatmulHeuristic> proposals, nint weight, nint input, nint? output)
    {
        if (!IsTimed(shape.Rows) || proposals.Length == 1) return proposals[0];
        MatmulHeuristic[] candidates = proposals.ToArray();
        try
        {
            return candidates[_choices.GetOrAdd($"cuBLASLt from memory {shape}", candidates.Length, () => Time(plan, candidates, weight, input, output ?? Unused(shape)))];
        }
        catch (CudaOutOfMemoryException)
        {
            return candidates[0];
        }
    }

    // Index of the fastest on the data at hand. In a step weights come from memory, so each run has the device's cache emptied before it: by clearing the workspace. The
    // candidates take turns and each counts with its best, so that what disturbs one turn decides nothing. They write where the product goes anyway, unless it is added to
    // what lies there: the key/value cache leaves no memory for a buffer of their own.
    private int Time(Plan plan, MatmulHeuristic[] candidates, nint weight, nint input, nint target)
    {
        nint start = 0, end = 0;
        float[] best = new float[candidates.Length];
        Array.Fill(best, float.PositiveInfinity);
        try
        {
            (start, end) = (_device.CreateEvent(timing: true), _device.CreateEvent(timing: true));
            for (int turn = 0; turn < TimedTurns; turn++)
            {
                for (int candidate = 0; candidate < candidates.Length; candidate++)
                {
                    CudaDriver.Check(CudaDriver.cuMemsetD8Async(_workspace, 0, (nuint)WorkspaceBytes, _device.Stream));
                    _device.RecordEvent(start);
                    int status = Run(plan, candidates[candidate], weight, input, target, 0);
                    _device.RecordEvent(end);
                    _device.AwaitEvent(end);
                    float milliseconds = 0;
                    CudaDriver.Check(CudaDriver.cuEventElapsedTime(&milliseconds, start, end));
                    if (status == 0) best[candidate] = Math.Min(best[candidate], milliseconds);
                }
            }
        }
        finally
        {
            _device.DestroyEvent(start);
            _device.DestroyEvent(end);
        }
        int fastest = Array.IndexOf(best, best.Min());
        return best[fastest] < WorthLeaving * best[0] ? fastest : 0;
    }

    // Where a product may be timed that is to be added to what its output holds: gate and up projections lie there, which no such product reads.
    private nint Unused(ProductShape shape) => _scratch.Get(ScratchUse.Gated, (long)shape.Rows * shape.Outputs * shape.Out.Size());

    private Plan? Choose(ProductShape shape, nint weight, nint input, nint? output, nint bias)
    {
        TakeWorkspace();
        if (_handle == 0)
        {
            nint handle = 0;
            CublasLt.Check(CublasLt.cublasLtCreate(&handle));
            _handle = handle;
        }
        Plan plan = new(shape);
        nint preference = 0;
        try
        {
            if (shape.Epilogue != Epilogue.None) plan.SetBias(bias);
            CublasLt.Check(CublasLt.cublasLtMatmulPreferenceCreate(&preference));
            long workspace = WorkspaceBytes;
            CublasLt.Check(CublasLt.cublasLtMatmulPreferenceSetAttribute(preference, CublasLt.PreferenceWorkspaceBytes, &workspace, sizeof(long)));
            MatmulHeuristic* found = stackalloc MatmulHeuristic[HeuristicsAsked];
            int count = 0;
            int status = CublasLt.cublasLtMatmulAlgoGetHeuristic(_handle, plan.Operation, plan.Weight, plan.Input, plan.Output, plan.Output, preference, HeuristicsAsked, found, &count);
            if (status != 0 || count == 0)
            {
                plan.Dispose();
                return null;
            }
            plan.Algorithm = Fastest(plan, shape, new ReadOnlySpan<MatmulHeuristic>(found, count), weight, input, output);
            return plan;
        }
        catch
        {
            plan.Dispose();
            throw;
        }
        finally
        {
            if (preference != 0) _ = CublasLt.cublasLtMatmulPreferenceDestroy(preference);
        }
    }

    // What follows the sums, by cuBLASLt's numbers.
    private enum Epilogue
    {
        None = CublasLt.EpilogueNone,
        Bias = CublasLt.EpilogueBias,
        ReluBias = CublasLt.EpilogueReluBias,
        GeluBias = CublasLt.EpilogueGeluBias,
    }

    private readonly record struct ProductShape(int Rows, int Outputs, int Columns, DType Weight, DType Out, Epilogue Epilogue);

    // In cuBLASLt's column-major terms: output [outputs, rows] = (weight [columns, outputs])ᵀ · input [columns, rows].
    private sealed class Plan : IDisposable
    {
        public Plan(ProductShape shape)
        {
            nint operation = 0;
            int transpose = CublasLt.Transpose, epilogue = (int)shape.Epilogue;
            CublasLt.Check(CublasLt.cublasLtMatmulDescCreate(&operation, CublasLt.ComputeF32, CudaType(DType.F32)));
            Operation = operation;
            try
            {
                CublasLt.Check(CublasLt.cublasLtMatmulDescSetAttribute(operation, CublasLt.DescriptorTransposeA, &transpose, sizeof(int)));
                CublasLt.Check(CublasLt.cublasLtMatmulDescSetAttribute(operation, CublasLt.DescriptorEpilogue, &epilogue, sizeof(int)));
                Weight = Layout(shape.Weight, shape.Columns, shape.Outputs);
                Input = Layout(shape.Weight, shape.Columns, shape.Rows);
                Output = Layout(shape.Out, shape.Outputs, shape.Rows);
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public nint Operation { get; }

        public nint Weight { get; }

        public nint Input { get; }

        public nint Output { get; }

        public MatmulHeuristic Algorithm { get; set; }

        /// <summary>The bias of the next product.</summary>
        public void SetBias(nint bias) => CublasLt.Check(CublasLt.cublasLtMatmulDescSetAttribute(Operation, CublasLt.DescriptorBiasPointer, &bias, (nuint)sizeof(nint)));

        public void Dispose()
        {
            foreach (nint layout in (ReadOnlySpan<nint>)[Output, Input, Weight])
            {
                if (layout != 0) _ = CublasLt.cublasLtMatrixLayoutDestroy(layout);
            }
            _ = CublasLt.cublasLtMatmulDescDestroy(Operation);
        }

        private static nint Layout(DType type, int rows, int columns)
        {
            nint layout = 0;
            CublasLt.Check(CublasLt.cublasLtMatrixLayoutCreate(&layout, CudaType(type), (ulong)rows, (ulong)columns, rows));
            return layout;
        }
    }
}
