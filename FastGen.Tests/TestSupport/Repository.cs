namespace FastGen.Tests;

/// <summary>The repository that the tests were built from.</summary>
public static class Repository
{
    /// <summary>The folder that holds FastGen.sln; null where the tests run away from it.</summary>
    public static string? Root { get; } = Find();

    private static string? Find()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "FastGen.sln"))) folder = folder.Parent;
        return folder?.FullName;
    }
}

/// <summary>The small model that the repository carries, copied beside the tests.</summary>
public static class DefaultModel
{
    public static string Folder { get; } = Path.Combine(AppContext.BaseDirectory, "models", "fastgen-stories");
}
