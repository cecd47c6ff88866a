using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Products;
using FastGen.Tests.Kernels;

namespace FastGen.Tests;

/// <summary>Mixtures of experts by each of the kernels, where it serves.</summary>
[Parallelizable(ParallelScope.Self)]
[TestFixture(null, true)]
[TestFixture(ExpertKernel.Gemv, true)]
[TestFixture(ExpertKernel.Stream, true)]
[TestFixture(ExpertKernel.Skinny, true)]
[TestFixture(ExpertKernel.Tiles, true)]
[TestFixture(null, false)]
internal sealed class CudaExpertTests(ExpertKernel? kernel, bool hopper) : CudaFixture
{
    private static readonly (int Rows, int Experts, int Top, int Model, int Hidden)[] Shapes =
    [
        (1, 1, 1, 72, 56), (1, 8, 2, 512, 320), (2, 16, 8, 512, 320), (3, 1, 1, 72, 56), (5, 3, 3, 49, 17), (7, 64, 8, 264, 56), (9, 5, 2, 4096, 192), (3, 4, 2, 512, 3584), (17, 70, 2, 264, 56),
        (33, 60, 4, 264, 56), (40, 8, 2, 72, 56), (64, 4, 1, 512, 320), (100, 1, 1, 512, 320), (130, 16, 8, 264, 56), (257, 2, 2, 512, 320), (300, 8, 2, 512, 320), (300, 300, 3, 72, 56),
    ];

    private protected override CudaBackend MakeBackend() => new(options: new CudaOptions { UseHopperInstructions = hopper, ExpertKernel = kernel });

    private static IEnumerable<TestCaseData> Cases() => from type in Types from shape in Shapes select new TestCaseData(type, shape.Rows, shape.Experts, shape.Top, shape.Model, shape.Hidden);

    [TestCaseSource(nameof(Cases))]
    public void MixtureOfExperts_OddSizes_AgreesWithReference(DType type, int rows, int experts, int top, int model, int hidden)
    {
        Mixture mixture = Make(type, experts, top, model, hidden, normalize: rows % 2 == 1);
        Twin input = Activations(DType.F32, rows, model), gamma = Vector(model, 0.3f, 1), output = Activations(DType.F32, rows, model);

        Run((backend, on) => backend.MixtureOfExperts(on(output), new LinearInput(on(input), new NormWeights(NormKind.Rms, on(gamma), null, 1e-5f)), mixture.On(on)));

        AssertClose(output, type, Slack(type));
    }

    [TestCase(DType.F32)]
    [TestCase(DType.BF16)]
    [TestCase(DType.F16)]
    public void MixtureOfExperts_AllRowsToOneExpert_AgreesWithReference(DType type)
    {
        foreach (int rows in (int[])[1, 9, 65, 140])
        {
            Mixture mixture = Make(type, 8, 2, 264, 56, normalize: true) with { Bias = Make(DType.F32, DType.F32, 1, 8, [0, 0, 0, 0, 0, 90, 80, 0], weights: false) };
            Twin input = Activations(DType.F32, rows, 264), output = Activations(DType.F32, rows, 264);

            Run((backend, on) => backend.MixtureOfExperts(on(output), new LinearInput(on(input)), mixture.On(on)));

            AssertClose(output, type, Slack(type));
        }
    }

    [TestCase(DType.F32, DType.F32)]
    [TestCase(DType.BF16, DType.F32)]
    [TestCase(DType.BF16, DType.BF16)]
    [TestCase(DType.F16, DType.F16)]
    public void MixtureOfExperts_NormedInputAndF32Router_AgreesWithReference(DType type, DType inputType)
    {
        Mixture mixture = Make(type, 12, 3, 264, 56, normalize: false) with { Router = Weights(DType.F32, 12, 264) };
        Twin input = Activations(inputType, 21, 264), output = Activations(DType.F32, 21, 264);

        Run((backend, on) => backend.MixtureOfExperts(on(output), new LinearInput(on(input)), mixture.On(on)));

        AssertClose(output, type, Slack(type));
    }

    [TestCase(DType.F32)]
    [TestCase(DType.BF16)]
    [TestCase(DType.F16)]
    public void MixtureOfExperts_LayerNorm_AgreesWithReference(DType type)
    {
        Mixture mixture = Make(type, 8, 2, 264, 56, normalize: true);
        Twin input = Activations(DType.F32, 6, 264), gamma = Vector(264, 0.3f, 1), beta = Vector(264), output = Activations(DType.F32, 6, 264);

        Run((backend, on) => backend.MixtureOfExperts(on(output), new LinearInput(on(input), new NormWeights(NormKind.Layer, on(gamma), on(beta), 1e-5f)), mixture.On(on)));

        AssertClose(output, type, Slack(type));
    }

    [Test]
    public void MixtureOfExperts_RowsInAnotherOrder_GivesTheSameBits([ValueSource(nameof(Types))] DType type, [Values(6, 40, 150)] int rows)
    {
        const int Model = 264;
        Mixture mixture = Make(type, 8, 2, Model, 56, normalize: true);
        float[] values = Values(DType.F32, rows * Model, 1);
        float[] forward = Results(Enumerable.Range(0, rows)), again = Results(Enumerable.Range(0, rows)), backward = Results(Enumerable.Range(0, rows).Reverse());

        Assert.That(again, Is.EqualTo(forward));
        Assert.That(backward.Chunk(Model).Reverse().SelectMany(row => row), Is.EqualTo(forward));

        float[] Results(IEnumerable<int> order)
        {
            float[] ordered = [.. order.SelectMany(row => values.AsSpan(row * Model, Model).ToArray())];
            Tensor stream = Cuda.Allocate(DType.F32, rows, Model);
            Cuda.Upload(MemoryMarshal.AsBytes<float>(ordered), DType.F32, stream);
            Cuda.MixtureOfExperts(stream, new LinearInput(stream), mixture.On(twin => twin.Cuda));
            return Read(Cuda, stream);
        }
    }

    [TestCaseSource(nameof(Types))]
    public void MixtureOfExperts_Deterministic_GivesARowTheSameBitsAloneAndAmongOthers(DType type)
    {
        const int Model = 264, Hidden = 56, Experts = 8, Rows = 90;
        using CudaBackend backend = new(options: new CudaOptions { UseHopperInstructions = hopper, Deterministic = true });
        ExpertWeights weights = new()
        {
            Router = new LinearWeights(OnDevice(type, Experts, Model)),
            GateUp = OnDevice(type, Experts * 2 * Hidden, Model),
            Down = OnDevice(type, Experts * Model, Hidden),
            Experts = Experts,
            TopK = 2,
            NormalizeTopK = true,
            Activation = Activation.Silu,
        };
        Tensor input = OnDevice(DType.F32, Rows, Model), output = backend.Allocate(DType.F32, Rows, Model), alone = backend.Allocate(DType.F32, 1, Model);
        backend.MixtureOfExperts(output, new LinearInput(input), weights);
        float[] together = Read(backend, output);
        foreach (int row in (int[])[0, 1, 44, 89])
        {
            backend.Upload(new byte[Model * sizeof(float)], DType.F32, alone);
            backend.MixtureOfExperts(alone, new LinearInput(input with { Data = input.Data + (row * Model * sizeof(float)), Rows = 1 }), weights);
            Assert.That(Read(backend, alone), Is.EqualTo(together[(row * Model)..((row + 1) * Model)]), $"row {row}");
        }

        Tensor OnDevice(DType stored, int rows, int columns)
        {
            Tensor tensor = backend.AllocateWeights(stored, rows, columns);
            backend.Upload(MemoryMarshal.AsBytes<float>(Values(stored, rows * columns, 2 / MathF.Sqrt(columns))), DType.F32, tensor);
            return tensor;
        }
    }

    [TestCase(DType.F32, 5)]
    [TestCase(DType.BF16, 1)]
    [TestCase(DType.BF16, 5)]
    [TestCase(DType.F16, 21)]
    public void MixtureOfExperts_InRecordedDecodeSteps_AgreesWithReference(DType type, int sequences)
    {
        const int Model = 264;
        PagedSequences pages = new(slots: 24, blockSize: 16, blocksPerSequence: 2, tokens: 64);
        Cuda.Prepare(Batches.Shape(), pages.Limits);
        Reference.Prepare(Batches.Shape(), pages.Limits);
        Mixture mixture = Make(type, 8, 2, Model, 56, normalize: true);
        Twin table = Weights(type, 101, Model), hidden = Activations(DType.F32, pages.Limits.Tokens, Model);
        void Forward(IBackend backend, Func<Twin, Tensor> on, int rows)
        {
            backend.Embed(on(hidden).WithRows(rows), on(table), pages.Batch);
            backend.MixtureOfExperts(on(hidden).WithRows(rows), new LinearInput(on(hidden).WithRows(rows)), mixture.On(on));
        }
        Action<int, int> onCuda = (rows, _) => Forward(Cuda, twin => twin.Cuda, rows), onReference = (rows, _) => Forward(Reference, twin => twin.Reference, rows);

        // Queued, recorded, replayed; then with fewer sequences in the same recording.
        foreach (int count in (int[])[sequences, sequences, sequences, Math.Max(1, sequences - 2), sequences])
        {
            pages.Next([.. Enumerable.Range(0, count).Select(slot => (slot, new[] { Random.Next(101) }))]);
            long ticket = Cuda.Submit(pages.Batch, onCuda);
            Reference.Submit(pages.Batch, onReference);
            Cuda.Collect(ticket, new int[count]);

            AssertClose(hidden.WithRows(count), type, Slack(type));
        }
    }

    private Mixture Make(DType type, int experts, int top, int model, int hidden, bool normalize) => new(
        Weights(type, experts, model, 4 / MathF.Sqrt(model)), null, Weights(type, experts * 2 * hidden, model, 2 / MathF.Sqrt(model)), Weights(type, experts * model, hidden, 2 / MathF.Sqrt(hidden)), experts, top, normalize);

    private static float Slack(DType type) => type == DType.F32 ? 4 : 2;

    private sealed record Mixture(Twin Router, Twin? Bias, Twin GateUp, Twin Down, int Experts, int Top, bool Normalize)
    {
        public ExpertWeights On(Func<Twin, Tensor> on) => new()
        {
            Router = new LinearWeights(on(Router), Bias is { } bias ? on(bias) : null),
            GateUp = on(GateUp),
            Down = on(Down),
            Experts = Experts,
            TopK = Top,
            NormalizeTopK = Normalize,
            Activation = Activation.Silu,
        };
    }
}
