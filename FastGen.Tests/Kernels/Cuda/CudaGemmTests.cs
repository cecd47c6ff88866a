using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Tests;

/// <summary>Products by the kernel of many rows wherever it serves: full and partial tiles of rows and outputs, inputs of less than a stage and of many.</summary>
public sealed class CudaGemmTests : CudaFixture
{
    private static readonly (int Rows, int Outputs, int Inputs)[] Shapes = [(129, 256, 64), (300, 264, 200), (140, 1000, 520), (513, 280, 72), (256, 136, 1096), (131, 512, 8)];

    private static IEnumerable<TestCaseData> Cases() => from type in (DType[])[DType.BF16, DType.F16] from shape in Shapes select new TestCaseData(type, shape.Rows, shape.Outputs, shape.Inputs);

    private protected override CudaBackend MakeBackend() => new(options: new CudaOptions { LeastTileUse = 0, SkinnyRows = 0 });

    [TestCaseSource(nameof(Cases))]
    public void Linear_ManyRows_AgreesWithReference(DType type, int rows, int outputs, int inputs)
    {
        Twin input = Activations(type, rows, inputs), weight = Weights(type, outputs, inputs, 1 / MathF.Sqrt(inputs)), bias = Vector(outputs), output = Activations(type, rows, outputs);
        foreach (Activation activation in Enum.GetValues<Activation>())
        {
            Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input)), new LinearWeights(on(weight), activation == Activation.None ? null : on(bias)), activation));

            AssertClose(output, type);
        }
    }

    [Test]
    public void Linear_MoreTilesThanMultiprocessors_AgreesWithReference()
    {
        Twin input = Activations(DType.BF16, 2100, 64), weight = Weights(DType.BF16, 2056, 64, 0.1f), output = Activations(DType.BF16, 2100, 2056);

        Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input)), new LinearWeights(on(weight))));

        AssertClose(output, DType.BF16);
    }

    [TestCaseSource(nameof(Cases))]
    public void Linear_ManyRowsIntoResidual_AgreesWithReference(DType type, int rows, int outputs, int inputs)
    {
        Twin input = Activations(type, rows, inputs), weight = Weights(type, outputs, inputs, 1 / MathF.Sqrt(inputs)), bias = Vector(outputs), output = Activations(DType.F32, rows, outputs);

        Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input)), new LinearWeights(on(weight)), accumulate: true));
        Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input)), new LinearWeights(on(weight), on(bias)), accumulate: true));

        AssertClose(output, DType.F32);
    }

    [TestCaseSource(nameof(Cases))]
    public void GatedLinear_ManyRows_AgreesWithReference(DType type, int rows, int outputs, int inputs)
    {
        Twin input = Activations(DType.F32, rows, inputs, 3), weight = Weights(type, 2 * outputs, inputs, 1 / MathF.Sqrt(inputs)), gamma = Vector(inputs, 0.3f, 1), bias = Vector(2 * outputs), output = Activations(type, rows, outputs);
        foreach (bool biased in (bool[])[false, true])
        {
            Run((backend, on) => backend.GatedLinear(on(output), new LinearInput(on(input), new NormWeights(NormKind.Rms, on(gamma), null, 1e-6f)), new LinearWeights(on(weight), biased ? on(bias) : null), Activation.Silu));

            AssertClose(output, type, slack: 3);
        }
    }
}
