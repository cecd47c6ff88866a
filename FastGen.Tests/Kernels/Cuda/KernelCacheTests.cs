using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Tests;

public sealed class KernelCacheTests
{
    private static readonly byte[] Image = [1, 2, 3, 4, 5];
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Path.Combine(Directory.CreateTempSubdirectory("fastgen-kernels").FullName, "made", "by", "the cache");

    [TearDown]
    public void DeleteFolder() => Directory.Delete(Path.GetFullPath(Path.Combine(_folder, "..", "..", "..")), recursive: true);

    [Test]
    public void Key_PartsThatJoinToTheSameText_Differ() => Assert.That(KernelCache.Key("ab", "c"), Is.Not.EqualTo(KernelCache.Key("a", "bc")));

    [Test]
    public void GetOrAdd_SecondCall_ReadsWhatTheFirstStored()
    {
        KernelCache cache = new(_folder);
        cache.GetOrAdd("key", () => Image);

        Assert.That(new KernelCache(_folder).GetOrAdd("key", () => throw new AssertionException("built again")), Is.EqualTo(Image));
    }

    [TestCase(0)]
    [TestCase(10)]
    [TestCase(18)]
    public void GetOrAdd_DamagedEntry_IsBuiltAgain(int length)
    {
        KernelCache cache = new(_folder);
        cache.GetOrAdd("key", () => Image);
        string file = Directory.GetFiles(_folder).Single();
        byte[] damaged = File.ReadAllBytes(file)[..length];
        File.WriteAllBytes(file, damaged);

        Assert.That(cache.GetOrAdd("key", () => [9]), Is.EqualTo((byte[])[9]));
        Assert.That(cache.GetOrAdd("key", () => throw new AssertionException("not stored")), Is.EqualTo((byte[])[9]));
    }

    [Test]
    public void GetOrAdd_ManyAtOnce_AllGetTheImageAndNoTemporaryFileStays()
    {
        byte[] large = new byte[100_000];
        Random.Shared.NextBytes(large);
        Parallel.For(0, 16, _ => Assert.That(new KernelCache(_folder).GetOrAdd("key", () => large), Is.EqualTo(large)));

        Assert.That(Directory.GetFiles(_folder), Has.Length.EqualTo(1));
    }

    [Test]
    public void GetOrAdd_FileCannotBePutInPlace_NoTemporaryFileStays()
    {
        KernelCache cache = new(_folder);
        cache.GetOrAdd("key", () => Image);
        string file = Directory.GetFiles(_folder).Single();
        File.Delete(file);
        Directory.CreateDirectory(file);

        Assert.That(cache.GetOrAdd("key", () => Image), Is.EqualTo(Image));
        Assert.That(Directory.GetFiles(_folder), Is.Empty);
    }

    [Test]
    public void GetOrAdd_FolderCannotBeMade_StillBuilds()
    {
        string file = Path.Combine(Path.GetFullPath(Path.Combine(_folder, "..", "..", "..")), "file");
        File.WriteAllText(file, "");

        Assert.That(new KernelCache(Path.Combine(file, "under a file")).GetOrAdd("key", () => Image), Is.EqualTo(Image));
    }
}
