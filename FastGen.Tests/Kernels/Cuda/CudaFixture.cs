using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Reference;

namespace FastGen.Tests;

/// <summary>A CUDA backend beside the reference loops, and matrices that both hold. Without a device the tests are skipped.</summary>
[Category("Cuda")]
public abstract class CudaFixture
{
    protected static readonly DType[] Types = [DType.F32, DType.BF16, DType.F16];

    private protected CudaBackend Cuda { get; private set; } = null!;

    private protected ReferenceBackend Reference { get; private set; } = null!;

    private protected Random Random { get; private set; } = null!;

    [OneTimeSetUp]
    public void Open()
    {
        CudaProbe probe = CudaBackend.Probe();
        if (!probe.IsUsable) Assert.Ignore(probe.Failure!);
        Cuda = MakeBackend();
        Reference = new ReferenceBackend();
    }

    private protected virtual CudaBackend MakeBackend() => new();

    [SetUp]
    public void Seed() => Random = new Random(TestContext.CurrentContext.Test.Name.Length);

    [OneTimeTearDown]
    public void Close()
    {
        Cuda?.Dispose();
        Reference?.Dispose();
    }

    /// <summary>A matrix of the same values on both backends; activations are F32 on the reference.</summary>
    private protected readonly record struct Twin(Tensor Cuda, Tensor Reference)
    {
        public Twin WithRows(int rows) => new(Cuda.WithRows(rows), Reference.WithRows(rows));
    }

    /// <summary>Runs an operation on the device, then on the reference, each with its own of all twins.</summary>
    private protected void Run(Action<IBackend, Func<Twin, Tensor>> operation)
    {
        operation(Cuda, twin => twin.Cuda);
        operation(Reference, twin => twin.Reference);
    }

    /// <summary>Random values that <paramref name="type"/> holds exactly.</summary>
    private protected Twin Activations(DType type, int rows, int columns, float scale = 1)
    {
        float[] values = Values(type, rows * columns, scale);
        return Make(type, DType.F32, rows, columns, values, weights: false);
    }

    private protected Twin Weights(DType type, int rows, int columns, float scale = 1) => Make(type, type, rows, columns, Values(type, rows * columns, scale), weights: true);

    private protected Twin Vector(int columns, float scale = 1, float offset = 0)
    {
        float[] values = [.. Values(DType.F32, columns, scale).Select(value => value + offset)];
        return Make(DType.F32, DType.F32, 1, columns, values, weights: false);
    }

    private protected Twin Make(DType type, DType referenceType, int rows, int columns, float[] values, bool weights)
    {
        Twin twin = weights
            ? new Twin(Cuda.AllocateWeights(type, rows, columns), Reference.AllocateWeights(referenceType, rows, columns))
            : new Twin(Cuda.Allocate(type, rows, columns), Reference.Allocate(referenceType, rows, columns));
        Cuda.Upload(MemoryMarshal.AsBytes<float>(values), DType.F32, twin.Cuda);
        Reference.Upload(MemoryMarshal.AsBytes<float>(values), DType.F32, twin.Reference);
        return twin;
    }

    private protected float[] Values(DType type, int count, float scale)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) values[i] = Round(type, ((2 * Random.NextSingle()) - 1) * scale);
        return values;
    }

    private protected static float Round(DType type, float value) => type switch
    {
        DType.F16 => (float)(Half)value,
        DType.BF16 => BitConverter.UInt32BitsToSingle((BitConverter.SingleToUInt32Bits(value) + 0x7fff + ((BitConverter.SingleToUInt32Bits(value) >> 16) & 1)) & 0xffff0000),
        _ => value,
    };

    private protected static float[] Read(IBackend backend, Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        backend.Download(tensor, values);
        return values;
    }

    /// <summary>Asserts ‖a − b‖ ≤ tolerance · ‖b‖ over all values, and that none is NaN.</summary>
    private protected void AssertClose(Twin twin, DType type, float slack = 1)
    {
        float[] actual = Read(Cuda, twin.Cuda), expected = Read(Reference, twin.Reference);
        double error = 0, norm = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            error += ((double)actual[i] - expected[i]) * ((double)actual[i] - expected[i]);
            norm += (double)expected[i] * expected[i];
        }
        double relative = Math.Sqrt(error / Math.Max(norm, 1e-30)), tolerance = slack * (type == DType.F32 ? 3e-6 : type == DType.F16 ? 1e-3 : 6e-3);
        Assert.That(relative, Is.LessThanOrEqualTo(tolerance), $"relative error of {actual.Length} values");
    }
}
