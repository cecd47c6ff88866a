using FastGen.Models.Tokenizers;
using Microsoft.ML.Tokenizers;

namespace FastGen.Models;

/// <summary>Finds and reads the tokenizer of a model folder.</summary>
public static class TokenizerLoader
{
    /// <summary>Reads one <c>tokenizer.json</c>, with <c>tokenizer_config.json</c> beside it if there is one.</summary>
    public static HuggingFaceTokenizer LoadFile(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return new HuggingFaceTokenizer(TokenizerJsonFile.Read(path));
    }

    /// <summary>Reads the tokenizer of a model folder.</summary>
    public static Tokenizer Load(string modelFolder) => LoadFile(Path.Combine(modelFolder, "tokenizer.json"));
}
