using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cpu;
using FastGen.Kernels.Reference;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Weights of other types as F16: every value that F16 reaches is rounded to it, others are refused.</summary>
public sealed class HalfRangeTests
{
    private const int Columns = 256;

    // From here on values round to infinity.
    private const float Beyond = 65520;

    private static readonly Func<IBackend>[] Processors = [() => new ReferenceBackend(), () => CpuBackend.Create(threads: 2)];

    [TestCaseSource(nameof(Processors))]
    public void Upload_EveryBFloat16_IsTheNearestHalf(Func<IBackend> create)
    {
        using IBackend backend = create();
        AssertEveryBFloat16IsTheNearestHalf(backend);
    }

    [TestCaseSource(nameof(Processors))]
    public void Upload_SinglesBetweenHalves_AreRoundedToEven(Func<IBackend> create)
    {
        using IBackend backend = create();
        AssertSinglesAreRoundedToEven(backend);
    }

    [Test]
    [Category("Cuda")]
    public void Upload_ToTheDevice_IsTheNearestHalf()
    {
        using IBackend backend = TestBackends.Cuda.Create();
        AssertEveryBFloat16IsTheNearestHalf(backend);
        AssertSinglesAreRoundedToEven(backend);
    }

    [Test]
    [Category("Cuda")]
    public void Norm_BeyondHalf_SaturatesOnTheDevice()
    {
        using IBackend backend = TestBackends.Cuda.Create();
        Tensor input = backend.Allocate(DType.F32, 1, Columns), gamma = backend.Allocate(DType.F32, 1, Columns), output = backend.Allocate(DType.F16, 1, Columns);
        backend.Upload(MemoryMarshal.AsBytes<float>([.. Enumerable.Range(0, Columns).Select(i => i % 2 == 0 ? 1f : -1f)]), DType.F32, input);
        backend.Upload(MemoryMarshal.AsBytes<float>([.. Enumerable.Repeat(1e6f, Columns)]), DType.F32, gamma);
        backend.Norm(output, input, new NormWeights(NormKind.Rms, gamma, null, 1e-6f));
        Assert.That(Read(backend, output), Is.EqualTo(Enumerable.Range(0, Columns).Select(i => i % 2 == 0 ? 65504f : -65504f)));
    }

    [Test]
    public void Check_ValueBeyondHalf_IsFoundWhereverItLies([Values(DType.F32, DType.BF16)] DType type, [Values(65536, -1e30f, float.NegativeInfinity)] float value)
    {
        StoredTensor tensor = new("file", "weight", type.ToString(), [37], 0, 37L * type.Size());
        Assert.Multiple(() =>
        {
            for (int place = 0; place < 37; place++)
            {
                float[] values = new float[37];
                Array.Fill(values, -65280);
                values[(place + 1) % 37] = float.NaN;
                Assert.That(() => HalfRange.Check(Stored(values, type), type, tensor), Throws.Nothing);
                values[place] = value;
                Assert.That(() => HalfRange.Check(Stored(values, type), type, tensor), Throws.InstanceOf<ModelLoadException>().With.Message.Contains("'weight'").And.Message.Contains($"as {type}"));
            }
        });
    }

    [TestCase(65519.99f, true)]
    [TestCase(65520, false)]
    public void Load_AsHalf_RefusesWhatRoundsToInfinity(float value, bool fits)
    {
        using TemporaryFolder folder = new();
        TinyLlama.Write(folder.Path, tensors => tensors.Single(tensor => tensor.Name == "model.layers.1.mlp.up_proj.weight").Values[^1] = value);
        foreach (Func<IBackend> create in Processors)
        {
            using IBackend half = create(), single = create();
            Assert.That(() => ModelLoader.Load(folder.Path, single), Throws.Nothing);
            if (fits) Assert.That(() => ModelLoader.Load(folder.Path, half, new ModelLoadOptions { WeightType = DType.F16 }), Throws.Nothing);
            else Assert.That(() => ModelLoader.Load(folder.Path, half, new ModelLoadOptions { WeightType = DType.F16 }), Throws.TypeOf<ModelLoadException>().With.Message.Contains("layers.1.mlp.up_proj.weight").And.Message.Contains("65520").And.Message.Contains("F32"));
        }
    }

    [Test]
    public void LoadMatrix_ReadBySeveralReaders_LosesNoValueBetweenThem()
    {
        const int rows = 2053, columns = 513;
        float[] values = [.. Enumerable.Range(0, rows * columns).Select(i => (float)(i % 2039))];
        using TemporaryFolder folder = new();
        Assert.That(Load(), Is.EqualTo(values));
        for (int place = (values.Length / 2) - 3; place <= (values.Length / 2) + 3; place++)
        {
            (float kept, values[place]) = (values[place], -70000);
            Assert.That(Load, Throws.TypeOf<ModelLoadException>().With.Message.Contains("-70000"));
            values[place] = kept;
        }

        float[] Load()
        {
            SafetensorsWriter.Write(Path.Combine(folder.Path, "model.safetensors"), ("weight", [rows, columns], values));
            using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder.Path);
            using ReferenceBackend backend = new();
            using WeightLoader loader = new(checkpoint, backend, DType.F16);
            Tensor matrix = loader.LoadMatrix([RowSpan.All("weight", rows)], columns);
            loader.Complete();
            return Read(backend, matrix);
        }
    }

    private static void AssertEveryBFloat16IsTheNearestHalf(IBackend backend)
    {
        ushort[] bits = [.. Enumerable.Range(0, 1 << 16).Select(i => Math.Abs(Single(i)) < Beyond ? (ushort)i : (ushort)0)];
        Tensor halves = backend.Allocate(DType.F16, bits.Length / Columns, Columns);
        backend.Upload(MemoryMarshal.AsBytes<ushort>(bits), DType.BF16, halves);
        Assert.That(Read(backend, halves), Is.EqualTo(bits.Select(value => (float)(Half)Single(value))));

        static float Single(int bits) => BitConverter.Int32BitsToSingle(bits << 16);
    }

    private static void AssertSinglesAreRoundedToEven(IBackend backend)
    {
        // Around the middle of each pair of neighbours, gradual underflow included.
        float[] values = [.. Enumerable.Range(0, 0x7bff).SelectMany(Around), .. Enumerable.Repeat(0f, Columns)];
        values = values[..(values.Length / Columns * Columns)];
        Tensor halves = backend.Allocate(DType.F16, values.Length / Columns, Columns);
        backend.Upload(MemoryMarshal.AsBytes<float>(values), DType.F32, halves);
        Assert.That(Read(backend, halves), Is.EqualTo(values.Select(value => (float)(Half)value)));

        static float[] Around(int bits)
        {
            float middle = ((float)BitConverter.UInt16BitsToHalf((ushort)bits) + (float)BitConverter.UInt16BitsToHalf((ushort)(bits + 1))) / 2;
            return [MathF.BitDecrement(middle), -middle, MathF.BitIncrement(middle)];
        }
    }

    private static float[] Read(IBackend backend, Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        backend.Download(tensor, values);
        return values;
    }

    private static byte[] Stored(float[] values, DType type) => type == DType.F32
        ? MemoryMarshal.AsBytes<float>(values).ToArray()
        : MemoryMarshal.AsBytes<ushort>([.. values.Select(value => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16))]).ToArray();
}
