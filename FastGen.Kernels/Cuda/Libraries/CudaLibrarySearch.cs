using System.Runtime.InteropServices;

namespace FastGen.Kernels.Cuda.Libraries;

/// <summary>A file that may be the library, and the rule that named it. A name without a folder is left to the system's loader.</summary>
internal readonly record struct CudaCandidate(string Path, string Origin);

/// <summary>
/// Where CUDA's libraries may lie, in the order in which they are tried: the explicit option, <see cref="PathVariable"/>, the application's
/// own folder (NuGet packages that carry CUDA put them there), CUDA_PATH and the system's CUDA folders, the loader's path, and the
/// packages of Python environments. It only lists: what it needs to know of the machine are its properties, so that made folders can stand in.
/// </summary>
internal sealed class CudaLibrarySearch
{
    /// <summary>Environment variable that names folders to look in, separated as in PATH.</summary>
    public const string PathVariable = "FASTGEN_CUDA_PATH";

    /// <summary>Whether Windows' names and folders are meant.</summary>
    public required bool Windows { get; init; }

    /// <summary>Whether the processor is an Arm, such as Grace.</summary>
    public bool Arm { get; init; }

    /// <summary>Folder given by the caller.</summary>
    public string? ExplicitFolder { get; init; }

    /// <summary>Folder of the running program.</summary>
    public required string ApplicationFolder { get; init; }

    /// <summary>Reads an environment variable.</summary>
    public required Func<string, string?> Variable { get; init; }

    /// <summary>Folders where the system keeps CUDA toolkits: each holds cuda, cuda-13.0 (Linux) or v13.0 (Windows).</summary>
    public required IReadOnlyList<string> ToolkitParents { get; init; }

    /// <summary>Folders of libraries that the loader may not know, such as those of a distribution's packages.</summary>
    public required IReadOnlyList<string> SystemFolders { get; init; }

    /// <summary>Folders that hold Python's packages, beside those of the active environment.</summary>
    public required IReadOnlyList<string> PythonPackageFolders { get; init; }

    private string RuntimeIdentifier => $"{(Windows ? "win" : "linux")}-{(Arm ? "arm64" : "x64")}";

    /// <summary>The search on this machine.</summary>
    public static CudaLibrarySearch ForThisMachine(string? explicitFolder)
    {
        bool windows = OperatingSystem.IsWindows(), arm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        return new CudaLibrarySearch
        {
            Windows = windows,
            Arm = arm,
            ExplicitFolder = explicitFolder,
            ApplicationFolder = AppContext.BaseDirectory,
            Variable = Environment.GetEnvironmentVariable,
            ToolkitParents = windows
                ? [Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.ProgramFiles), "NVIDIA GPU Computing Toolkit", "CUDA")]
                : ["/usr/local", "/opt"],
            SystemFolders = windows ? [] : [arm ? "/usr/lib/aarch64-linux-gnu" : "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64"],
            PythonPackageFolders = windows
                ? Matching(Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "Programs", "Python"), "Python3*", Path.Combine("Lib", "site-packages"))
                : [.. Matching(Path.Combine(home, ".local", "lib"), "python3*", "site-packages"),
                   .. Matching("/usr/local/lib", "python3*", "dist-packages"), .. Matching("/usr/local/lib", "python3*", "site-packages"),
                   .. Matching("/usr/lib", "python3*", "dist-packages")],
        };
    }

    /// <summary>Files to try for <paramref name="library"/>, first to last. Those with a folder exist.</summary>
    public IEnumerable<CudaCandidate> Candidates(CudaLibrary library)
    {
        HashSet<string> seen = [];
        foreach ((string folder, string origin) in FoldersBeforeLoader())
        {
            foreach (CudaCandidate candidate in InFolder(library, folder, origin))
            {
                if (seen.Add(candidate.Path)) yield return candidate;
            }
        }
        foreach (string name in library.Names(Windows)) yield return new CudaCandidate(name, "loader's path");
        foreach (string folder in PythonFolders())
        {
            foreach (CudaCandidate candidate in InFolder(library, folder, "Python package"))
            {
                if (seen.Add(candidate.Path)) yield return candidate;
            }
        }
    }

    /// <summary>
    /// What lies beside <paramref name="candidate"/> and it will ask the system's loader for by name alone, which knows only its own folders: to be loaded first.
    /// </summary>
    public IReadOnlyList<string> Companions(CudaLibrary library, CudaCandidate candidate)
    {
        if (library != CudaLibrary.Compiler || Path.GetDirectoryName(candidate.Path) is not { Length: > 0 } folder) return [];
        return Listed(folder, () => Directory.EnumerateFiles(folder, Windows ? "nvrtc-builtins64_*.dll" : "libnvrtc-builtins*.so*"));
    }

    /// <summary>Folders looked into, with the rule that named each, whether or not they exist.</summary>
    public IEnumerable<(string Folder, string Origin)> Folders()
    {
        foreach ((string, string) folder in FoldersBeforeLoader()) yield return folder;
        foreach (string folder in PythonFolders()) yield return (folder, "Python package");
    }

    private IEnumerable<(string Folder, string Origin)> FoldersBeforeLoader()
    {
        if (ExplicitFolder is not null)
        {
            foreach (string folder in WithToolkitFolders(ExplicitFolder)) yield return (folder, "option LibraryFolder");
        }
        foreach (string part in (Variable(PathVariable) ?? "").Split(Windows ? ';' : ':', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            foreach (string folder in WithToolkitFolders(part)) yield return (folder, PathVariable);
        }
        yield return (ApplicationFolder, "application folder");
        yield return (Path.Combine(ApplicationFolder, "runtimes", RuntimeIdentifier, "native"), "application folder");
        if (Variable("CUDA_PATH") is { Length: > 0 } toolkit)
        {
            foreach (string folder in WithToolkitFolders(toolkit)) yield return (folder, "CUDA_PATH");
        }
        foreach (string parent in ToolkitParents)
        {
            foreach (string root in ToolkitsIn(parent))
            {
                foreach (string folder in WithToolkitFolders(root)) yield return (folder, "system's CUDA folder");
            }
        }
        foreach (string folder in SystemFolders) yield return (folder, "system's library folder");
    }

    // A toolkit keeps its libraries in bin (12) or bin/x64 (13) on Windows, in lib64 or targets/…/lib on Linux.
    private IEnumerable<string> WithToolkitFolders(string root) => Windows
        ? [root, Path.Combine(root, "bin"), Path.Combine(root, "bin", "x64")]
        : [root, Path.Combine(root, "lib64"), Path.Combine(root, "targets", Arm ? "sbsa-linux" : "x86_64-linux", "lib"), Path.Combine(root, "lib")];

    private IEnumerable<string> ToolkitsIn(string parent)
    {
        if (!Windows) yield return Path.Combine(parent, "cuda");
        foreach (string folder in Matching(parent, Windows ? "v1*" : "cuda-1*", "").OrderByDescending(VersionOf)) yield return folder;
    }

    private static Version VersionOf(string folder)
    {
        string digits = Path.GetFileName(folder).TrimStart('v', 'c', 'u', 'd', 'a', '-');
        return Version.TryParse(digits.Contains('.') ? digits : digits + ".0", out Version? version) ? version : new Version();
    }

    private IEnumerable<string> PythonFolders()
    {
        List<string> packages = [];
        foreach (string variable in (string[])["VIRTUAL_ENV", "CONDA_PREFIX"])
        {
            if (Variable(variable) is not { Length: > 0 } environment) continue;
            if (Windows) packages.Add(Path.Combine(environment, "Lib", "site-packages"));
            else packages.AddRange(Matching(Path.Combine(environment, "lib"), "python3*", "site-packages"));
        }
        foreach (string folder in packages.Concat(PythonPackageFolders))
        {
            foreach (string library in Matching(Path.Combine(folder, "nvidia"), "*", Windows ? "bin" : "lib"))
            {
                yield return library;
                // Where the packages of CUDA 13 have them.
                if (Windows) yield return Path.Combine(library, "x86_64");
            }
        }
    }

    private IEnumerable<CudaCandidate> InFolder(CudaLibrary library, string folder, string origin)
    {
        foreach (string name in library.Names(Windows))
        {
            string path = Path.Combine(folder, name);
            if (File.Exists(path)) yield return new CudaCandidate(path, origin);
        }
        // libtorch's packages carry NVRTC with a hash in its name: libnvrtc-b51b459d.so.12.
        if (Windows || library != CudaLibrary.Compiler) yield break;
        foreach (string path in Listed(folder, () => Directory.EnumerateFiles(folder, "libnvrtc-*.so.1*")))
        {
            if (!path.Contains("builtins", StringComparison.Ordinal)) yield return new CudaCandidate(path, origin);
        }
    }

    private static IReadOnlyList<string> Matching(string parent, string pattern, string inner) =>
        [.. Listed(parent, () => Directory.EnumerateDirectories(parent, pattern)).Select(folder => inner.Length == 0 ? folder : Path.Combine(folder, inner))];

    // In order; a folder that is not there or may not be read holds nothing.
    private static IReadOnlyList<string> Listed(string folder, Func<IEnumerable<string>> list)
    {
        if (!Directory.Exists(folder)) return [];
        try
        {
            return [.. list().Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            return [];
        }
    }
}
