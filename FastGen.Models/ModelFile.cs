namespace FastGen.Models;

/// <summary>What the files of a model folder have in common.</summary>
internal static class ModelFile
{
    /// <summary>What to do about a file whose content is not what it should be.</summary>
    public const string GetAgain = "get the file again";

    /// <summary>Why a file that is there cannot be read, and what to do. A snapshot in the hub's cache is a folder of links, which a copy may leave without their targets.</summary>
    public static string Unreadable(string path, Exception exception) => BrokenLinkTarget(path) is { } target
        ? $"cannot be read: it is a link to '{target}', which is not there; copy what the folder's links lead to, or {GetAgain}"
        : $"cannot be read ({exception.Message}); see that this process may read it";

    private static string? BrokenLinkTarget(string path)
    {
        FileInfo file = new(path);
        try
        {
            return file.ResolveLinkTarget(returnFinalTarget: true) is { Exists: false } ? file.LinkTarget : null;
        }
        catch (IOException)
        {
            // Links in a circle.
            return file.LinkTarget;
        }
    }
}
