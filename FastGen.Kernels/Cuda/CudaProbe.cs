using System.Globalization;
using System.Text;
using FastGen.Kernels.Cuda.Interop;
using FastGen.Kernels.Cuda.Libraries;

namespace FastGen.Kernels.Cuda;

/// <summary>A device that the driver lists.</summary>
/// <param name="Index">Its number, from 0.</param>
/// <param name="Name">Its name.</param>
/// <param name="ComputeCapability">Such as 9.0.</param>
/// <param name="MemoryBytes">Its memory in all.</param>
/// <param name="Multiprocessors">Its streaming multiprocessors.</param>
public sealed record CudaDeviceInfo(int Index, string Name, Version ComputeCapability, long MemoryBytes, int Multiprocessors)
{
    /// <summary>The least that the kernels run on.</summary>
    public static Version LeastComputeCapability { get; } = new(8, 0);

    /// <summary>Whether the kernels run on it.</summary>
    public bool IsSupported => ComputeCapability >= LeastComputeCapability;
}

/// <summary>One of CUDA's libraries, as found.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Path">The file or bare name it was loaded by; null where it was not found.</param>
/// <param name="Version">Its version; null where it was not found or did not say.</param>
/// <param name="Attempts">Everything tried, first to last.</param>
public sealed record CudaLibraryInfo(string Name, string? Path, Version? Version, IReadOnlyList<CudaLoadAttempt> Attempts);

/// <summary>What this machine has for CUDA: libraries, versions, devices, and where it was looked.</summary>
public sealed class CudaProbe
{
    private CudaProbe(IReadOnlyList<CudaLibraryInfo> libraries, IReadOnlyList<CudaDeviceInfo> devices, string? failure)
    {
        Libraries = libraries;
        Devices = devices;
        Failure = failure;
    }

    /// <summary>The driver, NVRTC and cuBLASLt.</summary>
    public IReadOnlyList<CudaLibraryInfo> Libraries { get; }

    /// <summary>Devices that the driver lists.</summary>
    public IReadOnlyList<CudaDeviceInfo> Devices { get; }

    /// <summary>Why CUDA cannot be used, with the remedy; null where it can.</summary>
    public string? Failure { get; }

    /// <summary>True if a backend can be made.</summary>
    public bool IsUsable => Failure is null;

    /// <summary>Looks at this machine. Libraries stay loaded; nothing is allocated on a device.</summary>
    public static CudaProbe Run(CudaOptions? options = null)
    {
        List<CudaLibraryInfo> libraries = [];
        foreach (CudaLibrary library in CudaLibrary.All)
        {
            bool loaded = CudaLibraryLoader.TryLoad(library, options?.LibraryFolder, out IReadOnlyList<CudaLoadAttempt> attempts);
            libraries.Add(new CudaLibraryInfo(library.Title, loaded ? attempts[^1].Path : null, loaded ? VersionOf(library) : null, attempts));
        }
        if (libraries[0].Path is null) return new CudaProbe(libraries, [], "There is no NVIDIA driver on this machine: install it, or use the CPU.");
        int code = CudaDriver.cuInit(0);
        if (code != 0) return new CudaProbe(libraries, [], $"The NVIDIA driver does not start: {CudaDriver.Describe(code)}.{VisibleDevices}");
        List<CudaDeviceInfo> devices = ListDevices();
        string? failure = devices.Count == 0 ? $"The NVIDIA driver lists no device.{VisibleDevices}"
            : !devices.Any(device => device.IsSupported) ? $"No device has compute capability {CudaDeviceInfo.LeastComputeCapability} or more."
            : libraries.FirstOrDefault(library => library.Path is null) is { } missing ? $"{missing.Name} was not found: {RemedyFor(missing)}"
            : null;
        return new CudaProbe(libraries, devices, failure);
    }

    /// <summary>The whole report, several lines.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        text.Append("CUDA: ").AppendLine(Failure ?? "usable");
        foreach (CudaLibraryInfo library in Libraries)
        {
            text.Append(CultureInfo.InvariantCulture, $"  {library.Name}: ");
            text.AppendLine(library.Path is null ? "not found" : $"{library.Version?.ToString() ?? "unknown version"} from {library.Path}");
            if (library.Path is not null) continue;
            foreach (CudaLoadAttempt attempt in library.Attempts) text.AppendLine(CultureInfo.InvariantCulture, $"    tried {attempt.Path} ({attempt.Origin}): {attempt.Failure}");
        }
        foreach (CudaDeviceInfo device in Devices)
        {
            text.Append(CultureInfo.InvariantCulture, $"  Device {device.Index}: {device.Name}, compute capability {device.ComputeCapability}, {device.MemoryBytes / (1L << 30)} GiB, {device.Multiprocessors} multiprocessors");
            text.AppendLine(device.IsSupported ? "" : $" (too old: {CudaDeviceInfo.LeastComputeCapability} is needed)");
        }
        return text.ToString().TrimEnd();
    }

    // What hides devices, where it is set.
    private static string VisibleDevices => Environment.GetEnvironmentVariable("CUDA_VISIBLE_DEVICES") is { } visible ? $" CUDA_VISIBLE_DEVICES is \"{visible}\": unset it, or name a device in it." : "";

    private static string RemedyFor(CudaLibraryInfo missing) =>
        missing.Attempts.Any(attempt => attempt.Failure?.StartsWith(CudaLibraryLoader.NewerThanDriver, StringComparison.Ordinal) == true)
            ? "what is here is newer than the driver: update the driver, or install the libraries of the CUDA that it runs (12 at least)."
            : Remedy;

    private static string Remedy => OperatingSystem.IsWindows()
        ? $"add the package TorchSharp-cuda-windows or install the CUDA toolkit (12 or 13), or name its folder in {CudaLibrarySearch.PathVariable}."
        : $"install the CUDA toolkit (12 or 13) or Python's nvidia-cuda-nvrtc and nvidia-cublas, or name their folder in {CudaLibrarySearch.PathVariable}.";

    private static unsafe Version? VersionOf(CudaLibrary library)
    {
        int major = 0, minor = 0;
        if (library == CudaLibrary.Driver)
        {
            return CudaDriver.cuDriverGetVersion(&major) == 0 ? new Version(major / 1000, major % 1000 / 10) : null;
        }
        if (library == CudaLibrary.Compiler) return Nvrtc.nvrtcVersion(&major, &minor) == 0 ? new Version(major, minor) : null;
        // 12: 120903 is 12.9.3; 13: 130100 is 13.1.0.
        int version = (int)CublasLt.cublasLtGetVersion();
        return version >= 100000 ? new Version(version / 10000, version / 100 % 100, version % 100) : new Version(version / 1000, version / 100 % 10, version % 100);
    }

    private static unsafe List<CudaDeviceInfo> ListDevices()
    {
        int count = 0;
        if (CudaDriver.cuDeviceGetCount(&count) != 0) return [];
        List<CudaDeviceInfo> devices = [];
        byte* name = stackalloc byte[256];
        for (int i = 0; i < count; i++)
        {
            int device = 0;
            nuint bytes = 0;
            CudaDriver.Check(CudaDriver.cuDeviceGet(&device, i));
            CudaDriver.Check(CudaDriver.cuDeviceGetName(name, 256, device));
            CudaDriver.Check(CudaDriver.cuDeviceTotalMem_v2(&bytes, device));
            Version capability = new(CudaDevice.Attribute(device, DeviceAttribute.ComputeCapabilityMajor), CudaDevice.Attribute(device, DeviceAttribute.ComputeCapabilityMinor));
            devices.Add(new CudaDeviceInfo(i, System.Runtime.InteropServices.Marshal.PtrToStringUTF8((nint)name) ?? "", capability, (long)bytes, CudaDevice.Attribute(device, DeviceAttribute.MultiprocessorCount)));
        }
        return devices;
    }
}
