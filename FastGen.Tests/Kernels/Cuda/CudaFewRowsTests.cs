using FastGen.Compute;

namespace FastGen.Tests;

/// <summary>Products by the kernel of few rows wherever it suits: full and partial tiles, full and partial stages, one and several a row, the norm in the kernel and before it.</summary>
public sealed class CudaFewRowsTests : CudaFixture
{
    private static readonly (int Outputs, int Inputs)[] Shapes = [(1, 64), (7, 96), (4096, 1024), (4200, 4096), (72, 3072), (2056, 2560), (40, 2048), (520, 896), (3000, 1536)];

    private static IEnumerable<TestCaseData> Cases() => from type in (DType[])[DType.BF16, DType.F16] from shape in Shapes select new TestCaseData(type, shape.Outputs, shape.Inputs);

    [TestCaseSource(nameof(Cases))]
    public void Linear_FewRows_AgreesWithReference(DType type, int outputs, int inputs)
    {
        Twin weight = Weights(type, outputs, inputs, 1 / MathF.Sqrt(inputs)), bias = Vector(outputs), gamma = Vector(inputs, 0.3f, 1);
        foreach (int rows in (int[])[2, 5, 8])
        {
            Twin input = Activations(type, rows, inputs), residual = Activations(DType.F32, rows, inputs, 3), output = Activations(type, rows, outputs), sum = Activations(DType.F32, rows, outputs), logits = Activations(DType.F32, rows, outputs);

            Run((backend, on) => backend.Linear(on(output), new LinearInput(on(input)), new LinearWeights(on(weight), on(bias)), Activation.GeluTanh));
            Run((backend, on) => backend.Linear(on(sum), new LinearInput(on(input)), new LinearWeights(on(weight)), accumulate: true));
            Run((backend, on) => backend.Linear(on(logits), new LinearInput(on(residual), new NormWeights(NormKind.Rms, on(gamma), null, 1e-6f)), new LinearWeights(on(weight))));

            AssertClose(output, type);
            AssertClose(sum, DType.F32);
            AssertClose(logits, type, slack: 2);
        }
    }

    [TestCaseSource(nameof(Cases))]
    public void GatedLinear_FewRows_AgreesWithReference(DType type, int outputs, int inputs)
    {
        Twin weight = Weights(type, 2 * outputs, inputs, 1 / MathF.Sqrt(inputs)), bias = Vector(2 * outputs), gamma = Vector(inputs, 0.3f, 1);
        foreach (int rows in (int[])[3, 8])
        {
            Twin input = Activations(DType.F32, rows, inputs, 3), output = Activations(type, rows, outputs), biased = Activations(type, rows, outputs);

            Run((backend, on) => backend.GatedLinear(on(output), new LinearInput(on(input), new NormWeights(NormKind.Rms, on(gamma), null, 1e-6f)), new LinearWeights(on(weight)), Activation.Silu));
            Run((backend, on) => backend.GatedLinear(on(biased), new LinearInput(on(input), new NormWeights(NormKind.Rms, on(gamma), null, 1e-6f)), new LinearWeights(on(weight), on(bias)), Activation.Silu));

            AssertClose(output, type, slack: 3);
            AssertClose(biased, type, slack: 3);
        }
    }

    // Weights that the second-level cache holds come while warps still read what lay in their place.
    [Test]
    public void Linear_SameInputManyTimes_GivesTheSameBits([Values(DType.BF16, DType.F16)] DType type, [Values] bool gated)
    {
        const int Outputs = 4200, Inputs = 4096, Rows = 8, Times = 100;
        Twin input = Activations(type, Rows, Inputs), output = Activations(type, Rows, Outputs);
        LinearWeights weights = new(Weights(type, gated ? 2 * Outputs : Outputs, Inputs, 1 / MathF.Sqrt(Inputs)).Cuda);
        float[] first = [];
        for (int time = 0; time < Times; time++)
        {
            if (gated) Cuda.GatedLinear(output.Cuda, new LinearInput(input.Cuda), weights, Activation.Silu);
            else Cuda.Linear(output.Cuda, new LinearInput(input.Cuda), weights);

            float[] values = Read(Cuda, output.Cuda);
            if (time == 0) first = values;
            else Assert.That(values, Is.EqualTo(first), $"time {time}");
        }
    }
}
