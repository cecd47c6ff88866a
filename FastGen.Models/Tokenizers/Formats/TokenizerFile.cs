namespace FastGen.Models.Tokenizers;

/// <summary>The files that a tokenizer is read from.</summary>
internal static class TokenizerFile
{
    /// <summary>The whole file; one that is absent stays a <see cref="FileNotFoundException"/>.</summary>
    /// <exception cref="TokenizerFileException">It is there, but cannot be read, or is a link to what is not there.</exception>
    public static byte[] ReadAllBytes(string path)
    {
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception exception) when (exception is UnauthorizedAccessException || (exception is IOException && File.Exists(path)))
        {
            throw new TokenizerFileException(path, "the whole file", ModelFile.Unreadable(path, exception), exception);
        }
    }
}
