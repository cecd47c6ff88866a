using FastGen.Compute;

namespace FastGen.Tests;

/// <summary>Norms divided between the products before and after them: on the device as by the reference, every time the same operations come.</summary>
public sealed class CudaDividedNormTests : CudaFixture
{
    // Of parts: 64 as in Llama-3-8B, 16 in clusters of four, 128 and one of tiles of 16 outputs and less, and what cannot be divided.
    private static readonly (int Hidden, int Mlp)[] Shapes = [(4096, 256), (1024, 1024), (2048, 520), (256, 264), (72, 136), (3584, 264)];

    private static IEnumerable<TestCaseData> Cases() =>
        from type in (DType[])[DType.BF16, DType.F16] from shape in Shapes from rows in shape.Hidden < 1000 ? (int[])[2, 7, 8, 9, 31, 64, 100, 128] : [7, 33] select new TestCaseData(type, shape.Hidden, shape.Mlp, rows);

    [TestCaseSource(nameof(Cases))]
    public void Products_NormBetweenThem_AgreeWithReference(DType type, int hidden, int mlp, int rows)
    {
        Twin stream = Activations(DType.F32, rows, hidden, 3), between = Activations(type, rows, mlp), gated = Activations(type, rows, mlp), logits = Activations(DType.F32, rows, mlp);
        LinearTwin up = Linear(type, mlp, hidden), gateUp = Linear(type, 2 * mlp, hidden), down = Linear(type, hidden, mlp), biased = Linear(type, hidden, mlp);
        Twin first = Vector(hidden, 0.3f, 1), second = Vector(hidden, 3);
        for (int turn = 0; turn < 2; turn++)
        {
            Run((backend, on) =>
            {
                backend.GatedLinear(on(gated), new LinearInput(on(stream), Norm(on(first))), gateUp.On(on, bias: true), Activation.Silu);
                backend.Linear(on(stream), new LinearInput(on(gated)), down.On(on, bias: false), accumulate: true);
                backend.Linear(on(between), new LinearInput(on(stream), Norm(on(second))), up.On(on, bias: turn == 1), Activation.Relu);
                backend.Linear(on(stream), new LinearInput(on(between)), biased.On(on, bias: true), accumulate: true);
            });
            AssertClose(gated, type, slack: 4);
            AssertClose(between, type, slack: 4);
            AssertClose(stream, type);
        }
        // The same norm behind the same product, but the stream has changed meanwhile; and another norm.
        Run((backend, on) =>
        {
            backend.Linear(on(stream), new LinearInput(on(gated)), down.On(on, bias: false), accumulate: true);
            backend.Norm(on(stream), on(stream), Norm(on(first)));
            backend.Linear(on(logits), new LinearInput(on(stream), Norm(on(second))), up.On(on, bias: false));
        });
        AssertClose(logits, type, slack: 4);
        Run((backend, on) =>
        {
            backend.Linear(on(stream), new LinearInput(on(gated)), down.On(on, bias: false), accumulate: true);
            backend.Linear(on(logits), new LinearInput(on(stream), Norm(on(first)) with { Epsilon = 0.5f }), up.On(on, bias: false));
        });
        AssertClose(logits, type, slack: 4);
    }

    private static NormWeights Norm(Tensor gamma) => new(NormKind.Rms, gamma, null, 1e-5f);

    private LinearTwin Linear(DType type, int outputs, int inputs) => new(Weights(type, outputs, inputs, 1 / MathF.Sqrt(inputs)), Vector(outputs));

    private readonly record struct LinearTwin(Twin Weight, Twin Bias)
    {
        public LinearWeights On(Func<Twin, Tensor> on, bool bias) => new(on(Weight), bias ? on(Bias) : null);
    }
}
