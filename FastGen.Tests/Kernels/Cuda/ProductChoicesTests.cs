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

    private ProductChoices Choices(string device = "device") => new(new KernelCache(_folder), device);
}
