namespace FastGen.Models;

/// <summary>A tokenizer's file is broken or asks for what is not supported. The message names the file, the field and what is wrong.</summary>
public sealed class TokenizerFileException : ModelLoadException
{
    /// <summary>An exception about <paramref name="field"/> of <paramref name="file"/>.</summary>
    public TokenizerFileException(string file, string field, string problem, Exception? cause = null)
        : base($"'{file}', {field}: {problem}", cause)
    {
        File = file;
        Field = field;
    }

    /// <summary>The file.</summary>
    public string File { get; }

    /// <summary>The path of the field in the file, such as <c>model.merges[12]</c>.</summary>
    public string Field { get; }
}
