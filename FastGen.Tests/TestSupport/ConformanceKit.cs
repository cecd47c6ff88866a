namespace FastGen.Tests;

/// <summary>
/// The folder of outside truth: <c>FASTGEN_CONFORMANCE</c> if set, else <c>shared/conformance</c> beside the repository.
/// Tests that need it are reported as skipped where it is absent.
/// </summary>
public static class ConformanceKit
{
    /// <summary>The kit's folder, or null where there is none.</summary>
    public static string? Root { get; } = Find();

    /// <summary>The folder <paramref name="parts"/> below the kit; skips the running test when it is absent.</summary>
    public static string Folder(params string[] parts)
    {
        string? folder = Root is null ? null : Path.Combine([Root, .. parts]);
        if (folder is null || !Directory.Exists(folder)) Assert.Ignore($"The conformance kit has no folder '{string.Join('/', parts)}' here (set FASTGEN_CONFORMANCE).");
        return folder!;
    }

    /// <summary>Folders directly below <paramref name="parts"/>, for use as a test case source; a single null where the kit is absent.</summary>
    public static IEnumerable<string?> Folders(params string[] parts)
    {
        string? folder = Root is null ? null : Path.Combine([Root, .. parts]);
        if (folder is null || !Directory.Exists(folder)) return [null];
        return Directory.GetDirectories(folder).Order(StringComparer.Ordinal).Select(path => (string?)Path.GetFileName(path));
    }

    private static string? Find()
    {
        if (Environment.GetEnvironmentVariable("FASTGEN_CONFORMANCE") is { Length: > 0 } given) return given;
        if (Repository.Root is null) return null;
        string kit = Path.GetFullPath(Path.Combine(Repository.Root, "..", "shared", "conformance"));
        return Directory.Exists(kit) ? kit : null;
    }
}
