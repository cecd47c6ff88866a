using System.Globalization;

namespace FastGen.Kernels.Cuda.Libraries;

/// <summary>A library of NVIDIA's: the name that imports carry, and its file names, newest CUDA first.</summary>
internal sealed record CudaLibrary(string ImportName, string Title, IReadOnlyList<string> LinuxNames, IReadOnlyList<string> WindowsNames, bool ShipsWithDriver)
{
    /// <summary>What imports of the driver API name.</summary>
    public const string DriverImport = "fastgen-cuda-driver";

    /// <summary>What imports of the run-time compiler name.</summary>
    public const string CompilerImport = "fastgen-cuda-nvrtc";

    /// <summary>What imports of cuBLASLt name.</summary>
    public const string ProductsImport = "fastgen-cuda-cublaslt";

    /// <summary>The driver API; comes with the display driver.</summary>
    public static CudaLibrary Driver { get; } = new(DriverImport, "CUDA driver", ["libcuda.so.1"], ["nvcuda.dll"], true);

    /// <summary>The run-time compiler.</summary>
    public static CudaLibrary Compiler { get; } = new(CompilerImport, "NVRTC", ["libnvrtc.so.13", "libnvrtc.so.12"], ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"], false);

    /// <summary>Matrix products.</summary>
    public static CudaLibrary Products { get; } = new(ProductsImport, "cuBLASLt", ["libcublasLt.so.13", "libcublasLt.so.12"], ["cublasLt64_13.dll", "cublasLt64_12.dll"], false);

    /// <summary>All of them, in the order of need.</summary>
    public static IReadOnlyList<CudaLibrary> All { get; } = [Driver, Compiler, Products];

    /// <summary>The version of CUDA that a file of it is of: 13 for libnvrtc.so.13 and nvrtc64_130_0.dll; 0 where the name does not say.</summary>
    public int MajorOf(string path)
    {
        if (ShipsWithDriver) return 0;
        string file = Path.GetFileName(path.Replace('\\', '/'));
        foreach (string mark in (ReadOnlySpan<string>)[".so.", "64_"])
        {
            int at = file.LastIndexOf(mark, StringComparison.Ordinal) + mark.Length;
            if (at >= mark.Length && at + 2 <= file.Length && int.TryParse(file.AsSpan(at, 2), NumberStyles.None, CultureInfo.InvariantCulture, out int major)) return major;
        }
        return 0;
    }

    /// <summary>File names on one system.</summary>
    public IReadOnlyList<string> Names(bool windows) => windows ? WindowsNames : LinuxNames;
}
