using FastGen.Compute;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>Products by cuBLASLt. The algorithm for each shape is chosen once.</summary>
internal sealed unsafe class CublasProducts : IDisposable
{
    private const int HeuristicsAsked = 8;
    private const long WorkspaceBytes = 64L << 20;

    private readonly CudaDevice _device;
    private readonly CudaScratch _scratch;
    private readonly Dictionary<ProductShape, Plan?> _plans = [];
    private readonly TimedChoice<ProductShape> _choice;
    private nint _handle, _workspace;

    public CublasProducts(CudaDevice device, CudaScratch scratch) => (_device, _scratch, _choice) = (device, scratch, new TimedChoice<ProductShape>(device));

    /// <summary>output = input · weightᵀ, added to what it holds when <paramref name="accumulate"/>. False where cuBLASLt has no algorithm.</summary>
    public bool TryMultiply(Tensor output, Tensor input, Tensor weight, bool accumulate)
    {
        ProductShape shape = new(input.Rows, weight.Rows, weight.Columns, weight.Type, output.Type);
        if (!_plans.TryGetValue(shape, out Plan? plan)) _plans[shape] = plan = Choose(shape, weight.Data, input.Data);
        if (plan is null) return false;
        int status = Run(plan, plan.Algorithm, weight.Data, input.Data, output.Data, accumulate ? 1 : 0);
        if (status != 0)
        {
            // The algorithm was timed for another number of rows of the bucket and does not take this one.
            plan.Algorithm = plan.FirstProposal;
            status = Run(plan, plan.Algorithm, weight.Data, input.Data, output.Data, accumulate ? 1 : 0);
        }
        CublasLt.Check(status, nameof(CublasLt.cublasLtMatmul));
        return true;
    }

    public void Dispose()
    {
        foreach (Plan? plan in _plans.Values) plan?.Dispose();
        _plans.Clear();
        if (_handle != 0) _ = CublasLt.cublasLtDestroy(_handle);
        _handle = 0;
    }

    private static int CudaType(DType type) => type switch
    {
        DType.F32 => 0,
        DType.F16 => 2,
        DType.BF16 => 14,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not a storage type."),
    };

    private int Run(Plan plan, MatmulHeuristic algorithm, nint weight, nint input, nint output, float beta)
    {
        float alpha = 1;
        return CublasLt.cublasLtMatmul(_handle, plan.Operation, &alpha, weight, plan.Weight, input, plan.Input, &beta, output, plan.Output, output, plan.Output, &algorithm, _workspace, (nuint)WorkspaceBytes, _device.Stream);
    }

    // The fastest of cuBLASLt's proposals on the data at hand, timed once for a bucket of rows. Few rows keep its first: alone they would be
    // timed from the cache.
    private MatmulHeuristic Fastest(Plan plan, ProductShape shape, ReadOnlySpan<MatmulHeuristic> proposals, nint weight, nint input)
    {
        if (shape.Rows <= LinearProducts.FewRows || proposals.Length == 1) return proposals[0];
        nint target = _scratch.Get(ScratchUse.Timing, (long)shape.Rows * shape.Outputs * shape.Out.Size());
        MatmulHeuristic[] candidates = proposals.ToArray();
        return candidates[_choice.Fastest(shape with { Rows = LinearProducts.Bucket(shape.Rows) }, candidates.Length, candidate => Run(plan, candidates[candidate], weight, input, target, 0) == 0)];
    }

    private Plan? Choose(ProductShape shape, nint weight, nint input)
    {
        if (_handle == 0)
        {
            nint handle = 0;
            CublasLt.Check(CublasLt.cublasLtCreate(&handle));
            _handle = handle;
            _workspace = _device.Allocate(WorkspaceBytes);
        }
        Plan plan = new(shape);
        nint preference = 0;
        CublasLt.Check(CublasLt.cublasLtMatmulPreferenceCreate(&preference));
        try
        {
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
            plan.FirstProposal = found[0];
            plan.Algorithm = Fastest(plan, shape, new ReadOnlySpan<MatmulHeuristic>(found, count), weight, input);
            return plan;
        }
        finally
        {
            _ = CublasLt.cublasLtMatmulPreferenceDestroy(preference);
        }
    }

    private readonly record struct ProductShape(int Rows, int Outputs, int Columns, DType Weight, DType Out);

    // In cuBLASLt's column-major terms: output [outputs, rows] = (weight [columns, outputs])ᵀ · input [columns, rows].
    private sealed class Plan : IDisposable
    {
        public Plan(ProductShape shape)
        {
            nint operation = 0, weight = 0, input = 0, output = 0;
            int transpose = CublasLt.Transpose;
            CublasLt.Check(CublasLt.cublasLtMatmulDescCreate(&operation, CublasLt.ComputeF32, CudaType(DType.F32)));
            CublasLt.Check(CublasLt.cublasLtMatmulDescSetAttribute(operation, CublasLt.DescriptorTransposeA, &transpose, sizeof(int)));
            CublasLt.Check(CublasLt.cublasLtMatrixLayoutCreate(&weight, CudaType(shape.Weight), (ulong)shape.Columns, (ulong)shape.Outputs, shape.Columns));
            CublasLt.Check(CublasLt.cublasLtMatrixLayoutCreate(&input, CudaType(shape.Weight), (ulong)shape.Columns, (ulong)shape.Rows, shape.Columns));
            CublasLt.Check(CublasLt.cublasLtMatrixLayoutCreate(&output, CudaType(shape.Out), (ulong)shape.Outputs, (ulong)shape.Rows, shape.Outputs));
            (Operation, Weight, Input, Output) = (operation, weight, input, output);
        }

        public nint Operation { get; }

        public nint Weight { get; }

        public nint Input { get; }

        public nint Output { get; }

        public MatmulHeuristic Algorithm { get; set; }

        public MatmulHeuristic FirstProposal { get; set; }

        public void Dispose()
        {
            _ = CublasLt.cublasLtMatrixLayoutDestroy(Output);
            _ = CublasLt.cublasLtMatrixLayoutDestroy(Input);
            _ = CublasLt.cublasLtMatrixLayoutDestroy(Weight);
            _ = CublasLt.cublasLtMatmulDescDestroy(Operation);
        }
    }
}
