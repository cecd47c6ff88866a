using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Tests;

/// <summary>Queries, keys and values from a layer's input to its attention: by a product and a kernel for the heads, and by one for both wherever that serves.</summary>
[TestFixture(2)]
[TestFixture(0)]
public sealed class CudaHeadTests(double leastTileUse) : CudaStepFixture
{
    private protected override CudaBackend MakeBackend() => new(options: new CudaOptions { LeastTileUse = leastTileUse });

    private static IEnumerable<TestCaseData> Cases()
    {
        foreach (DType type in (DType[])[DType.BF16, DType.F16])
        {
            yield return new TestCaseData(type, 8, 2, 128, 128, null, true);
            yield return new TestCaseData(type, 3, 3, 64, 32, NormKind.Rms, false);
            yield return new TestCaseData(type, 4, 1, 64, 64, NormKind.Layer, true);
            yield return new TestCaseData(type, 5, 5, 80, 32, null, true);
            yield return new TestCaseData(type, 4, 2, 96, 96, NormKind.Rms, false);
            yield return new TestCaseData(type, 2, 1, 256, 0, NormKind.Rms, true);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void Attention_OfAProductsHeads_AgreesWithReference(DType type, int heads, int kvHeads, int headDim, int rotated, NormKind? norm, bool biased)
    {
        const int Inputs = 72, BlockSize = 16;
        StepLimits limits = new(Tokens: 700, Sequences: 8, BlockSize, BlocksPerSequence: (400 / BlockSize) + 1);
        Prepare(limits, heads, kvHeads, headDim, type);
        int columns = (heads + (2 * kvHeads)) * headDim, blocks = limits.Sequences * limits.BlocksPerSequence;
        Twin rotary = Rotary(420, Math.Max(rotated, 16)), gamma = Vector(headDim, 0.3f, 1), beta = Vector(headDim, 0.2f), scales = Vector(420, 0.2f, 1);
        Twin input = Activations(DType.F32, limits.Tokens, Inputs), inputGamma = Vector(Inputs, 0.3f, 1), weight = Weights(type, columns, Inputs, 1 / MathF.Sqrt(Inputs)), bias = Vector(columns);
        Twin qkv = Activations(DType.F32, limits.Tokens, columns), output = Activations(type, limits.Tokens, heads * headDim);
        KvLayer cudaCache = Cuda.AllocateKvLayer(type, blocks, BlockSize, kvHeads, headDim), referenceCache = Reference.AllocateKvLayer(DType.F32, blocks, BlockSize, kvHeads, headDim);
        Pool pool = new(limits, Random);
        foreach ((int, int)[] step in ((int, int)[][])[[(0, 1), (3, 130), (1, 17), (5, 64)], [(2, 9), (0, 30)], [(3, 100), (0, 1), (2, 65), (5, 2)], [(0, 1), (3, 1)]])
        {
            RaggedBatch batch = pool.Batch(step);
            foreach (IBackend backend in (IBackend[])[Cuda, Reference])
            {
                Tensor On(Twin twin) => backend == Cuda ? twin.Cuda : twin.Reference;
                NormWeights? HeadNorm() => norm is { } kind ? new NormWeights(kind, On(gamma), kind == NormKind.Layer ? On(beta) : null, 1e-6f) : null;
                AttentionWeights attention = new()
                {
                    Heads = heads,
                    KvHeads = kvHeads,
                    HeadDim = headDim,
                    Scale = 1 / MathF.Sqrt(headDim),
                    Rotary = rotated > 0 ? On(rotary) : null,
                    QueryNorm = HeadNorm(),
                    KeyNorm = HeadNorm(),
                    QueryScales = norm is null ? null : On(scales),
                };
                KvLayer cache = backend == Cuda ? cudaCache : referenceCache;
                long ticket = backend.Submit(batch, (rows, _) =>
                {
                    Tensor heads = On(qkv).WithRows(rows);
                    LinearInput normed = new(On(input).WithRows(rows), new NormWeights(NormKind.Rms, On(inputGamma), null, 1e-6f));
                    backend.ProjectQkv(heads, normed, new LinearWeights(On(weight), biased ? On(bias) : null), cache, attention, batch);
                    backend.Attention(On(output).WithRows(rows), heads, cache, attention, batch);
                });
                backend.Collect(ticket, new int[batch.LogitRowCount]);
            }

            AssertClose(output.WithRows(batch.TokenCount), type, slack: 2);
        }
    }
}
