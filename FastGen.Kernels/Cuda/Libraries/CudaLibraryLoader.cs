using System.Reflection;
using System.Runtime.InteropServices;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Libraries;

/// <summary>One attempt to load a library.</summary>
/// <param name="Path">The file, or a bare name where the system's loader was asked.</param>
/// <param name="Origin">The rule that named it.</param>
/// <param name="Failure">Why it was not taken; null for the one that was.</param>
public sealed record CudaLoadAttempt(string Path, string Origin, string? Failure);

/// <summary>Loads CUDA's libraries when they are first needed and keeps what was tried, for the probe.</summary>
internal static class CudaLibraryLoader
{
    /// <summary>How the failure of a library begins that the driver is too old for.</summary>
    public const string NewerThanDriver = "newer than the driver";

    private static readonly Lock Gate = new();
    private static readonly Dictionary<string, nint> Handles = [];
    private static readonly Dictionary<string, List<CudaLoadAttempt>> Attempts = [];
    private static CudaLibrarySearch? _search;

    static CudaLibraryLoader() => NativeLibrary.SetDllImportResolver(typeof(CudaLibraryLoader).Assembly, Resolve);

    /// <summary>Loads <paramref name="library"/> unless it is loaded, and says whether it is there.</summary>
    public static bool TryLoad(CudaLibrary library, string? explicitFolder, out IReadOnlyList<CudaLoadAttempt> attempts)
    {
        lock (Gate)
        {
            bool loaded = Handles.TryGetValue(library.ImportName, out nint handle) && handle != 0;
            if (!loaded)
            {
                _search = CudaLibrarySearch.ForThisMachine(explicitFolder);
                loaded = Load(library) != 0;
            }
            attempts = Attempts[library.ImportName];
            return loaded;
        }
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path)
    {
        CudaLibrary? library = CudaLibrary.All.FirstOrDefault(known => known.ImportName == name);
        if (library is null) return 0;
        lock (Gate)
        {
            return Handles.TryGetValue(name, out nint handle) && handle != 0 ? handle : Load(library);
        }
    }

    private static nint Load(CudaLibrary library)
    {
        _search ??= CudaLibrarySearch.ForThisMachine(null);
        List<CudaLoadAttempt> attempts = Attempts[library.ImportName] = [];
        int driver = library.ShipsWithDriver ? 0 : DriverVersion();
        foreach (CudaCandidate candidate in _search.Candidates(library))
        {
            if (driver > 0 && library.MajorOf(candidate.Path) > driver / 1000)
            {
                attempts.Add(new CudaLoadAttempt(candidate.Path, candidate.Origin, $"{NewerThanDriver}, which runs CUDA {driver / 1000}.{driver % 1000 / 10} at most"));
                continue;
            }
            try
            {
                foreach (string companion in _search.Companions(library, candidate)) _ = NativeLibrary.TryLoad(companion, out _);
                nint handle = NativeLibrary.Load(candidate.Path);
                attempts.Add(new CudaLoadAttempt(candidate.Path, candidate.Origin, null));
                return Handles[library.ImportName] = handle;
            }
            catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
            {
                attempts.Add(new CudaLoadAttempt(candidate.Path, candidate.Origin, Reason(candidate, e.Message)));
            }
        }
        return 0;
    }

    // 12040 is 12.4; 0 where there is none.
    private static unsafe int DriverVersion()
    {
        int version = 0;
        bool loaded = Handles.TryGetValue(CudaLibrary.DriverImport, out nint handle) && handle != 0;
        return (loaded || Load(CudaLibrary.Driver) != 0) && CudaDriver.cuDriverGetVersion(&version) == 0 ? version : 0;
    }

    // The runtime's message gives advice first; the lines that name the file say why.
    private static string Reason(CudaCandidate candidate, string message)
    {
        if (!Path.IsPathRooted(candidate.Path)) return "the system's loader does not find it";
        string[] lines = message.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return lines.Skip(1).FirstOrDefault(line => line.StartsWith(candidate.Path, StringComparison.Ordinal)) ?? lines[0];
    }
}
