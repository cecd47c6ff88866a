using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Products;

namespace FastGen.Tests;

public sealed class ProductChoicesTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fastgen-choices").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void GetOrAdd_NextProgramOnTheDevice_DoesNotTimeAgain()
    {
        Assert.That(Choices().GetOrAdd("512 x 4096", 8, () => 5), Is.EqualTo(5));
        Assert.That(Choices().GetOrAdd("512 x 4096", 8, () => throw new AssertionException("timed again")), Is.EqualTo(5));
    }

    [Test]
    public void GetOrAdd_AnotherProductDeviceOrNumberOfCandidates_IsTimed()
    {
        _ = Choices().GetOrAdd("512 x 4096", 8, () => 5);
        Assert.That(Choices().GetOrAdd("512 x 4097", 8, () => 1), Is.EqualTo(1));
        Assert.That(Choices("another").GetOrAdd("512 x 4096", 8, () => 2), Is.EqualTo(2));
        Assert.That(Choices().GetOrAdd("512 x 4096", 4, () => 3), Is.EqualTo(3));
        Assert.That(Choices().GetOrAdd("512 x 4096", 8, () => 7), Is.EqualTo(5));
    }

    // A folder below a file can be neither made nor written, whoever asks.
    [Test]
    public void GetOrAdd_FolderCannotBeWritten_IsTimedOnceAllTheSame()
    {
        string file = Path.Combine(_folder, "file");
        File.WriteAllText(file, "");
        ProductChoices choices = new(new KernelCache(Path.Combine(file, "kernels")), "device");

        Assert.That(choices.GetOrAdd("512 x 4096", 8, () => 5), Is.EqualTo(5));
        Assert.That(choices.GetOrAdd("512 x 4096", 8, () => throw new AssertionException("timed again")), Is.EqualTo(5));
    }

    [Test]
    public void GetOrAdd_DamagedEntry_IsTimedAgain()
    {
        _ = Choices().GetOrAdd("512 x 4096", 8, () => 5);
        string file = Directory.GetFiles(_folder).Single();
        byte[] damaged = File.ReadAllBytes(file);
        damaged[^1] ^= 1;
        File.WriteAllBytes(file, damaged);

        Assert.That(Choices().GetOrAdd("512 x 4096", 8, () => 6), Is.EqualTo(6));
        Assert.That(Choices().GetOrAdd("512 x 4096", 8, () => throw new AssertionException("not kept")), Is.EqualTo(6));
    }

    [Test]
    [Category("Cuda")]
    public void Linear_SecondBackend_TakesTheChoicesOfTheFirst()
    {
        CudaProbe probe = CudaBackend.Probe();
        if (!probe.IsUsable) Assert.Ignore(probe.Failure!);
        float[] first = Multiply();
        Dictionary<string, DateTime> files = Files();
        Assert.That(files.Keys.Count(file => new FileInfo(file).Length < 100), Is.GreaterThan(0), "Choices are small.");
        Assert.That(Multiply(), Is.EqualTo(first));
        Assert.That(Files(), Is.EqualTo(files), "Nothing was compiled, timed or written again.");
    }

    // A product of a number of rows that is timed, on a backend whose cache is the folder.
    private float[] Multiply()
    {
        const int Rows = 384, Size = 512;
        using CudaBackend backend = new(options: new CudaOptions { KernelCacheFolder = _folder });
        Tensor weight = backend.AllocateWeights(DType.BF16, Size, Size), input = backend.Allocate(DType.BF16, Rows, Size), output = backend.Allocate(DType.F32, Rows, Size);
        Random random = new(1);
        foreach (Tensor tensor in (Tensor[])[weight, input])
        {
            float[] values = [.. Enumerable.Range(0, tensor.Rows * Size).Select(_ => random.NextSingle() - 0.5f)];
            backend.Upload(MemoryMarshal.AsBytes<float>(values), DType.F32, tensor);
        }
        backend.Linear(output, new LinearInput(input), new LinearWeights(weight));
        float[] result = new float[Rows * Size];
        backend.Download(output, result);
        return result;
    }

    private Dictionary<string, DateTime> Files() => Directory.GetFiles(_folder).ToDictionary(file => file, File.GetLastWriteTimeUtc);

    private ProductChoices Choices(string device = "device") => new(new KernelCache(_folder), device);
}
