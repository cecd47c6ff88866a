using System.Buffers.Binary;
using System.Text;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Libraries;

namespace FastGen.Tests;

/// <summary>Kernels compile for every kind of device, and declare no more shared memory than launches leave them. Needs NVRTC, but no device.</summary>
public sealed class CudaCompilationTests
{
    private const int SystemBytes = 1024;

    private string _folder = "";

    [OneTimeSetUp]
    public void RequireCompiler()
    {
        if (!CudaLibraryLoader.TryLoad(CudaLibrary.Compiler, null, out _)) Assert.Ignore("NVRTC is not here.");
        _folder = Directory.CreateTempSubdirectory("fastgen-compilation").FullName;
    }

    [OneTimeTearDown]
    public void DeleteFolder()
    {
        if (_folder.Length > 0) Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public void Compile_KernelsOfAllSources_DeclareNoMoreSharedMemoryThanIsLeftToThem([Values("H200", "A100", "RTX 3090")] string kind, [Values("Mixtral-8x7B", "groups of 16")] string model, [Values] bool deterministic)
    {
        ImaginedDevice device = ImaginedDevice.Of(kind);
        KernelCompiler compiler = new(device.Capability, new KernelCache(_folder), useHopperInstructions: true);
        using CudaBackend backend = device.Backend(new CudaOptions { Deterministic = deterministic }, compiler);
        IReadOnlyList<KernelLaunch> launches = ImaginedModel.Launches(backend, CudaLaunchTests.Config(model), DType.BF16);

        // Of each kernel, the launch that asks for most.
        KernelLaunch[] largest = [.. launches.GroupBy(launch => launch.Kernel).Select(kernel => kernel.MaxBy(launch => launch.SharedBytes + CudaLaunchTests.OwnSharedBytes(launch)))];
        foreach (KernelLaunch launch in largest)
        {
            byte[] image = compiler.Compile(launch.Code);
            // From 9.0 on the section begins with what the system keeps, which is none of a CTA's.
            long own = SharedBytes(image, launch.Kernel) - (device.Capability.Major >= 9 ? SystemBytes : 0);
            Assert.That(own, Is.LessThanOrEqualTo(CudaLaunchTests.OwnSharedBytes(launch)), launch.ToString());
        }
    }

    [Test]
    public void Compile_SourceIsBroken_SaysWhatTheCompilerSaid()
    {
        KernelCompiler compiler = new(new Version(9, 0), cache: null, useHopperInstructions: true);

        Assert.That(() => compiler.Compile(new KernelCode("gemv", new KernelConstants { Rows = -1 })), Throws.TypeOf<CudaException>().With.Message.Match(@"^gemv\.cu does not compile \(.*ROWS=-1.*\n.*gemv\.cu\(\d+\): error"));
    }

    // The size of the section in which an image, a 64-bit ELF file, has the variables of a kernel that all threads of a CTA share.
    private static long SharedBytes(ReadOnlySpan<byte> image, string kernel)
    {
        int table = (int)BinaryPrimitives.ReadInt64LittleEndian(image[40..]), entry = BinaryPrimitives.ReadInt16LittleEndian(image[58..]), count = BinaryPrimitives.ReadInt16LittleEndian(image[60..]);
        int names = (int)BinaryPrimitives.ReadInt64LittleEndian(image[(table + (BinaryPrimitives.ReadInt16LittleEndian(image[62..]) * entry) + 24)..]);
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> section = image[(table + (i * entry))..], name = image[(names + BinaryPrimitives.ReadInt32LittleEndian(section))..];
            if (Encoding.ASCII.GetString(name[..name.IndexOf((byte)0)]) == ".nv.shared." + kernel) return BinaryPrimitives.ReadInt64LittleEndian(section[32..]);
        }
        return 0;
    }
}
