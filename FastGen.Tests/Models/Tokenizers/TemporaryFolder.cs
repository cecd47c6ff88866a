namespace FastGen.Tests;

/// <summary>A folder that lives as long as a test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    /// <summary>An empty folder.</summary>
    public TemporaryFolder() => Path = Directory.CreateTempSubdirectory("fastgen-tokenizer-").FullName;

    /// <summary>
    /// A folder with copies of those of <paramref name="files"/> that <paramref name="source"/> has. The kit names some by their model
    /// (<c>added_tokens.qwen3.json</c>); the last of these is taken.
    /// </summary>
    public TemporaryFolder(string source, IEnumerable<string> files) : this()
    {
        foreach (string file in files)
        {
            string pattern = $"{System.IO.Path.GetFileNameWithoutExtension(file)}*{System.IO.Path.GetExtension(file)}";
            string? found = Directory.GetFiles(source, pattern).Order(StringComparer.Ordinal).LastOrDefault();
            if (found is not null) File.Copy(found, System.IO.Path.Combine(Path, file));
        }
    }

    /// <summary>Where it is.</summary>
    public string Path { get; }

    /// <summary>Writes a file and returns its path.</summary>
    public string Write(string name, string content)
    {
        string file = System.IO.Path.Combine(Path, name);
        File.WriteAllText(file, content);
        return file;
    }

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(Path, recursive: true);
}
