using FastGen.Kernels.Cuda;

namespace FastGen.Tests;

public sealed class CudaProbeTests
{
    [Test]
    public void Probe_OnAnyMachine_SaysForEachLibraryWhatWasFoundOrTried()
    {
        CudaProbe probe = CudaBackend.Probe();

        TestContext.Out.WriteLine(probe);
        Assert.That(probe.Libraries, Has.Count.EqualTo(3));
        foreach (CudaLibraryInfo library in probe.Libraries)
        {
            Assert.That(probe.ToString(), Does.Contain(library.Name));
            Assert.That(library.Attempts, Is.Not.Empty);
            if (library.Path is null) Assert.That(library.Attempts.Select(attempt => attempt.Failure), Has.None.Null);
            else Assert.That(library.Attempts[^1].Failure, Is.Null);
        }
        if (probe.IsUsable) Assert.That(probe.Devices.Any(device => device.IsSupported));
    }

    [Test]
    public void Probe_WithoutADriver_NamesTheRemedyAndThePathsTried()
    {
        CudaProbe probe = CudaBackend.Probe();
        if (probe.Libraries[0].Path is not null) Assert.Ignore("This machine has an NVIDIA driver.");

        Assert.That(probe.IsUsable, Is.False);
        Assert.That(probe.Failure, Does.Contain("no NVIDIA driver").And.Contain("CPU"));
        Assert.That(probe.ToString(), Does.Contain("tried " + (OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1")));
    }

    [Test]
    public void Constructor_WithoutCuda_ThrowsWithTheProbe()
    {
        CudaProbe probe = CudaBackend.Probe();
        if (probe.IsUsable) Assert.Ignore("CUDA is usable here.");

        CudaException? exception = Assert.Throws<CudaException>(() => new CudaBackend());
        Assert.That(exception!.Message, Is.EqualTo(probe.ToString()));
    }

    [TestCase(700, true)]
    [TestCase(719, true)]
    [TestCase(214, true)]
    [TestCase(226, true)]
    [TestCase(721, true)]
    [TestCase(810, true)]
    [TestCase(2, false)]
    [TestCase(1, false)]
    [TestCase(720, false)]
    public void LosesDevice_ErrorsAfterWhichNothingWorks_AreTold(int code, bool loses) =>
        Assert.That(new CudaException("cuEventSynchronize", code, "").LosesDevice, Is.EqualTo(loses));
}
