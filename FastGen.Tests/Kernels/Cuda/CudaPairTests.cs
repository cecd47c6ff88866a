using FastGen.Compute;

namespace FastGen.Tests;

/// <summary>Two products at once, by one kernel wherever that serves: what layers with parallel attention and MLP begin and end with.</summary>
public sealed class CudaPairTests : CudaStepFixture
{
    private const int BlockSize = 16, HeadDim = 32;

    // Whole blocks of the first's columns and none, tiles that end in either matrix, columns shared by two and four CTAs, Phi-2's.
    private static readonly (int Outputs, int First, int Second)[] Sums = [(64, 64, 192), (72, 136, 264), (8, 64, 72), (1024, 320, 1280), (520, 704, 2048), (2560, 2560, 10240), (4544, 128, 200)];

    private static readonly (int Heads, int KvHeads, int Up, int Inputs)[] Projections = [(2, 1, 72, 72), (3, 3, 520, 320), (8, 1, 40, 1024), (80, 80, 10240, 2560), (5, 5, 9000, 4160)];

    private static IEnumerable<TestCaseData> SumCases() =>
        from type in (DType[])[DType.BF16, DType.F16, DType.F32] from sum in Sums where type == DType.BF16 || sum.Outputs < 2000 select new TestCaseData(type, sum.Outputs, sum.First, sum.Second);

    private static IEnumerable<TestCaseData> ProjectionCases() =>
        from type in (DType[])[DType.BF16, DType.F16, DType.F32]
        from sizes in Projections
        from norm in (NormKind?[])[null, NormKind.Rms, NormKind.Layer]
        where sizes.Up < 2000 || (type == DType.BF16 && norm == NormKind.Layer)
        select new TestCaseData(type, sizes.Heads, sizes.KvHeads, sizes.Up, sizes.Inputs, norm);

    [TestCaseSource(nameof(SumCases))]
    public void LinearSum_AnyRows_AgreesWithReference(DType type, int outputs, int first, int second)
    {
        Twin one = Weights(type, outputs, first, 1 / MathF.Sqrt(first)), other = Weights(type, outputs, second, 1 / MathF.Sqrt(second)), oneBias = Vector(outputs), otherBias = Vector(outputs);
        foreach (int rows in outputs < 2000 ? (int[])[1, 2, 3, 8, 9, 17, 64, 65, 128, 129] : [1, 2, 5, 33])
        {
            Twin input = Activations(type, rows, first), more = Activations(type, rows, second), output = Activations(DType.F32, rows, outputs);

            Run((backend, on) => backend.LinearSum(on(output), on(input), new LinearWeights(on(one)), on(more), new LinearWeights(on(other))));
            AssertClose(output, DType.F32, slack: 2);

            Run((backend, on) => backend.LinearSum(on(output), on(input), new LinearWeights(on(one), on(oneBias)), on(more), new LinearWeights(on(other), on(otherBias))));
            AssertClose(output, DType.F32, slack: 2);
        }
    }

    [TestCaseSource(nameof(ProjectionCases))]
    public void ProjectQkvAndUp_AnyRows_AgreesWithReference(DType type, int heads, int kvHeads, int up, int inputs, NormKind? norm)
    {
        bool isLarge = up > 2000;
        StepLimits limits = new(Tokens: 160, Sequences: 136, BlockSize, BlocksPerSequence: 2);
        Prepare(limits, heads, kvHeads, HeadDim, type);
        int columns = (heads + (2 * kvHeads)) * HeadDim, blocks = limits.Sequences * limits.BlocksPerSequence;
        Twin rotary = Rotary(40, 16), gamma = Vector(inputs, 0.3f, 1), beta = Vector(inputs, 0.2f), between = Activations(type, limits.Tokens, up);
        Twin input = norm is null ? Activations(type, limits.Tokens, inputs) : Shifted(limits.Tokens, inputs);
        Twin weight = Weights(type, columns, inputs, 1 / MathF.Sqrt(inputs)), bias = Vector(columns), upWeight = Weights(type, up, inputs, 1 / MathF.Sqrt(inputs)), upBias = Vector(up);
        Twin qkv = Activations(DType.F32, limits.Tokens, columns), output = Activations(type, limits.Tokens, heads * HeadDim);
        KvLayer cudaCache = Cuda.AllocateKvLayer(type, blocks, BlockSize, kvHeads, HeadDim), referenceCache = Reference.AllocateKvLayer(DType.F32, blocks, BlockSize, kvHeads, HeadDim);
        Pool pool = new(limits, Random);
        foreach (int sequences in isLarge ? (int[])[1, 2, 7, 12, 20, 70] : [1, 2, 3, 8, 9, 16, 33, 64, 65, 128, 130])
        {
            bool biased = sequences % 2 == 0;
            RaggedBatch batch = pool.Batch([.. Enumerable.Range(0, sequences).Select(slot => (slot, 1))]);
            foreach (IBackend backend in (IBackend[])[Cuda, Reference])
            {
                Tensor On(Twin twin) => backend == Cuda ? twin.Cuda : twin.Reference;
                AttentionWeights attention = new() { Heads = heads, KvHeads = kvHeads, HeadDim = HeadDim, Scale = 1 / MathF.Sqrt(HeadDim), Rotary = On(rotary) };
                KvLayer cache = backend == Cuda ? cudaCache : referenceCache;
                NormWeights? inputNorm = norm is { } kind ? new NormWeights(kind, On(gamma), kind == NormKind.Layer ? On(beta) : null, 1e-5f) : null;
                long ticket = backend.Submit(batch, (rows, _) =>
                {
                    LinearWeights qkvWeights = new(On(weight), biased ? On(bias) : null), upWeights = new(On(upWeight), biased ? On(upBias) : null);
                    backend.ProjectQkvAndUp(On(qkv).WithRows(rows), On(between).WithRows(rows), new LinearInput(On(input).WithRows(rows), inputNorm), qkvWeights, upWeights, Activation.GeluTanh, cache, attention, batch);
                    backend.Attention(On(output).WithRows(rows), On(qkv).WithRows(rows), cache, attention, batch);
                });
                backend.Collect(ticket, new int[batch.LogitRowCount]);
            }

            AssertClose(between.WithRows(sequences), type, slack: norm is null ? 1 : 2);
            AssertClose(output.WithRows(sequences), type, slack: 2);
        }
    }

    // Rows of a residual stream whose mean is large beside what varies.
    private Twin Shifted(int rows, int columns) => Make(DType.F32, DType.F32, rows, columns, [.. Values(DType.F32, rows * columns, 1).Select(value => value + 5)], weights: false);
}
