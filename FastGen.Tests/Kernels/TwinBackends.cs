using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Reference;

namespace FastGen.Tests.Kernels;

/// <summary>A backend under test beside the reference: every tensor is made twice, with the same values.</summary>
public sealed class TwinBackends(IBackend tested) : IDisposable
{
    private readonly Random _random = new(20240607);

    public IBackend Tested { get; } = tested;

    public IBackend Reference { get; } = new ReferenceBackend();

    /// <summary>One matrix in both backends.</summary>
    public readonly record struct Pair(Tensor Tested, Tensor Reference)
    {
        public Pair WithRows(int rows) => new(Tested.WithRows(rows), Reference.WithRows(rows));
    }

    public float[] Values(int count, float scale = 1, float mean = 0)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) values[i] = mean + (scale * (float)((_random.NextDouble() * 2) - 1 + (_random.NextDouble() * 2) - 1));
        return values;
    }

    public int Next(int end) => _random.Next(end);

    /// <summary>Activations, in the type that the tested backend computes in.</summary>
    public Pair Rows(int rows, int columns, float scale = 1)
    {
        DType type = Tested.PrecisionFor(DType.BF16).Activation;
        float[] values = Values(rows * columns, scale);
        Pair pair = new(Tested.Allocate(type, rows, columns), Reference.Allocate(DType.F32, rows, columns));
        Tested.Upload(Bytes(values), DType.F32, pair.Tested);
        // What rounding left of the values is what both compute with.
        Tested.Download(pair.Tested, values);
        Reference.Upload(Bytes(values), DType.F32, pair.Reference);
        return pair;
    }

    public Pair Logits(float[] values, int columns)
    {
        Pair pair = new(Tested.Allocate(DType.F32, values.Length / columns, columns), Reference.Allocate(DType.F32, values.Length / columns, columns));
        Upload(pair, values);
        return pair;
    }

    public Pair Weights(DType type, int rows, int columns)
    {
        Pair pair = new(Tested.AllocateWeights(type, rows, columns), Reference.AllocateWeights(type, rows, columns));
        Upload(pair, Values(rows * columns, 1 / MathF.Sqrt(columns)));
        return pair;
    }

    public Pair Vector(int length, float scale = 0.5f, float mean = 0) => Vector(Values(length, scale, mean));

    public Pair Vector(float[] values) => Table(values, values.Length);

    public Pair Table(float[] values, int columns)
    {
        Pair pair = new(Tested.Allocate(DType.F32, values.Length / columns, columns), Reference.Allocate(DType.F32, values.Length / columns, columns));
        Upload(pair, values);
        return pair;
    }

    public (NormWeights Tested, NormWeights Reference) Norm(NormKind kind, int columns, bool beta)
    {
        Pair gamma = Vector(columns, mean: 1), shift = beta ? Vector(columns) : default;
        return (new NormWeights(kind, gamma.Tested, beta ? shift.Tested : null, 1e-5f), new NormWeights(kind, gamma.Reference, beta ? shift.Reference : null, 1e-5f));
    }

    public (LinearWeights Tested, LinearWeights Reference) Linear(DType type, int outputs, int inputs, bool bias)
    {
        Pair weight = Weights(type, outputs, inputs), vector = bias ? Vector(outputs) : default;
        return (new LinearWeights(weight.Tested, bias ? vector.Tested : null), new LinearWeights(weight.Reference, bias ? vector.Reference : null));
    }

    /// <summary>Fails unless both hold the same, within <paramref name="tolerance"/> of the largest magnitude (at least 1).</summary>
    public void AssertClose(Pair pair, float tolerance, string name)
    {
        float[] tested = Read(Tested, pair.Tested), expected = Read(Reference, pair.Reference);
        float allowed = tolerance * expected.Append(1).Max(MathF.Abs);
        for (int i = 0; i < expected.Length; i++)
        {
            bool same = float.IsNaN(expected[i]) ? float.IsNaN(tested[i]) : MathF.Abs(tested[i] - expected[i]) <= allowed;
            if (!same) Assert.Fail($"{name}: value {i} (row {i / pair.Tested.Columns}, column {i % pair.Tested.Columns}) is {tested[i]}, not {expected[i]} ± {allowed}.");
        }
    }

    public static float[] Read(IBackend backend, Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        backend.Download(tensor, values);
        return values;
    }

    public static ReadOnlySpan<byte> Bytes(ReadOnlySpan<float> values) => MemoryMarshal.AsBytes(values);

    public void Dispose()
    {
        Tested.Dispose();
        Reference.Dispose();
    }

    private void Upload(Pair pair, float[] values)
    {
        Tested.Upload(Bytes(values), DType.F32, pair.Tested);
        Reference.Upload(Bytes(values), DType.F32, pair.Reference);
    }
}
