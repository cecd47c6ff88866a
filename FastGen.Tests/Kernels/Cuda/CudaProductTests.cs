using FastGen.Compute;

namespace FastGen.Tests;

[TestFixture]
public sealed class CudaProductTests : CudaFixture
{
    private static readonly (int Rows, int Outputs, int Inputs)[] Shapes =
    [
        (1, 1, 1), (1, 7, 5), (3, 33, 17), (5, 40, 48), (1, 256, 256), (2, 384, 512), (3, 129, 768), (4, 640, 1024), (7, 1000, 264), (1, 1536, 2048), (16, 128, 3072),
        (8, 192, 1024), (33, 320, 512), (64, 512, 1024), (100, 96, 640), (128, 768, 256), (200, 257, 129), (12, 300, 4096), (6, 72, 5000),
    ];

    private static IEnumerable<TestCaseData> Cases() => from type in Types from shape in Shapes select new TestCaseData(type, shape.Rows, shape.Outputs, shape.Inputs);

    [TestCaseSource(nameof(Cases))]
    public void Linear_Plain_AgreesWithReference(DType type, int rows, int outputs, int inputs)
    {
        Twin input = Activations(type, rows, inputs), weight = Weights(type, outputs, inputs, 1 / MathF.Sqrt(inputs)), output = Activations(type, rows, outputs);

        Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input)), new LinearWeights(on(weight))));

        AssertClose(output, type);
    }

    [TestCaseSource(nameof(Cases))]
    public void Linear_NormBiasAndActivation_AgreesWithReference(DType type, int rows, int outputs, int inputs)
    {
        Twin input = Activations(DType.F32, rows, inputs, 3), weight = Weights(type, outputs, inputs, 1 / MathF.Sqrt(inputs)), bias = Vector(outputs), gamma = Vector(inputs, 0.3f, 1), beta = Vector(inputs);
        Twin output = Activations(type, rows, outputs);
        foreach (Activation activation in Enum.GetValues<Activation>())
        {
            foreach (NormKind kind in Enum.GetValues<NormKind>())
            {
                Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input), new NormWeights(kind, on(gamma), on(beta), 1e-5f)), new LinearWeights(on(weight), on(bias)), activation));

                AssertClose(output, type, slack: inputs < 8 ? 4 : 1.5f);
            }
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void Linear_AccumulateIntoResidual_AgreesWithReference(DType type, int rows, int outputs, int inputs)
    {
        Twin input = Activations(type, rows, inputs), weight = Weights(type, outputs, inputs, 1 / MathF.Sqrt(inputs)), bias = Vector(outputs), output = Activations(DType.F32, rows, outputs);

        Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input)), new LinearWeights(on(weight)), accumulate: true));
        Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input)), new LinearWeights(on(weight), on(bias)), accumulate: true));

        AssertClose(output, DType.F32);
    }

    [TestCaseSource(nameof(Cases))]
    public void Linear_NormToLogits_AgreesWithReference(DType type, int rows, int outputs, int inputs)
    {
        Twin input = Activations(DType.F32, rows, inputs, 3), weight = Weights(type, outputs, inputs, 1 / MathF.Sqrt(inputs)), gamma = Vector(inputs, 0.3f, 1), output = Activations(DType.F32, rows, outputs);

        Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input), new NormWeights(NormKind.Rms, on(gamma), null, 1e-6f)), new LinearWeights(on(weight))));

        AssertClose(output, type, slack: 2);
    }

    [TestCaseSource(nameof(Cases))]
    public void GatedLinear_NormAndSilu_AgreesWithReference(DType type, int rows, int outputs, int inputs)
    {
        Twin input = Activations(DType.F32, rows, inputs, 3), weight = Weights(type, 2 * outputs, inputs, 1 / MathF.Sqrt(inputs)), gamma = Vector(inputs, 0.3f, 1), bias = Vector(2 * outputs), output = Activations(type, rows, outputs);
        foreach (bool biased in (bool[])[false, true])
        {
            Run((backend, on) => backend.GatedLinear(on(output), new LinearInput(on(input), new NormWeights(NormKind.Rms, on(gamma), null, 1e-6f)), new LinearWeights(on(weight), biased ? on(bias) : null), Activation.Silu));

            AssertClose(output, type, slack: 3);
        }
    }

    // Outputs and inputs that skinny.cu cuts in each of its ways: tiles of 8 to 240 weight rows, one CTA or two for each multiprocessor, columns
    // split by two and four with a remainder.
    [TestCase(496, 1032)]
    [TestCase(1008, 1160)]
    [TestCase(2576, 2184)]
    [TestCase(4096, 264)]
    [TestCase(8448, 264)]
    [TestCase(12672, 136)]
    [TestCase(30000, 136)]
    [TestCase(40000, 136)]
    public void Linear_EveryCut_AgreesWithReference(int outputs, int inputs)
    {
        Twin weight = Weights(DType.BF16, outputs, inputs, 1 / MathF.Sqrt(inputs));
        foreach (int rows in (int[])[6, 33, 70])
        {
            Twin input = Activations(DType.BF16, rows, inputs), output = Activations(DType.F32, rows, outputs), gated = Activations(DType.BF16, rows, outputs / 2);

            Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input)), new LinearWeights(on(weight)), accumulate: true));
            Run((backend, on) => backend.GatedLinear(on(gated), new LinearInput(on(input)), new LinearWeights(on(weight)), Activation.Silu));

            AssertClose(output, DType.F32);
            AssertClose(gated, DType.BF16, slack: 3);
        }
    }

    [TestCase(DType.F32)]
    [TestCase(DType.BF16)]
    [TestCase(DType.F16)]
    public void Linear_InputOfAnotherType_IsConverted(DType type)
    {
        Twin input = Activations(DType.F32, 3, 72), weight = Weights(type, 40, 72, 0.1f), output = Activations(type, 3, 40);

        Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input)), new LinearWeights(on(weight))));

        AssertClose(output, type, slack: 1.5f);
    }

    [TestCase(DType.F32)]
    [TestCase(DType.BF16)]
    [TestCase(DType.F16)]
    public void AddGated_SharedExpert_AgreesWithReference(DType type)
    {
        Twin input = Activations(type, 5, 48), gate = Weights(type, 1, 48, 0.2f), rows = Activations(type, 5, 40), down = Weights(type, 48, 40, 0.2f), output = Activations(DType.F32, 5, 48);

        Run((backend, on) => backend.AddGated(on(output), new LinearInput(on(input)), new LinearWeights(on(gate)), on(rows), new LinearWeights(on(down))));

        AssertClose(output, DType.F32, slack: 2);
    }

    [Test]
    public void Norm_InPlaceAndOddColumns_AgreesWithReference([Values(1, 7, 64, 1000, 4096, 20001)] int columns, [Values] NormKind kind, [Values(DType.F32, DType.BF16)] DType type)
    {
        Twin rows = Activations(type, 3, columns, 5), gamma = Vector(columns, 0.5f, 1), beta = Vector(columns);

        Run((backend, on) => backend.Norm(on(rows), on(rows), new NormWeights(kind, on(gamma), kind == NormKind.Layer ? on(beta) : null, 1e-5f)));

        AssertClose(rows, type, slack: 2);
    }
}
