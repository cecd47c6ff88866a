using FastGen.Models.Tokenizers;

namespace FastGen.Models;

/// <summary>Finds and reads the tokenizer of a model folder.</summary>
public static class TokenizerLoader
{
    /// <summary>
    /// Reads the tokenizer of a model folder: <c>tokenizer.json</c>, else <c>tokenizer.model</c> (SentencePiece, or Llama 3's list of byte
    /// strings), else <c>vocab.json</c> with <c>merges.txt</c>, else <c>qwen.tiktoken</c>; each with <c>tokenizer_config.json</c> beside it.
    /// </summary>
    /// <exception cref="FileNotFoundException">The folder has none of these files.</exception>
    /// <exception cref="TokenizerFileException">A file is broken or asks for what is not supported.</exception>
    public static HuggingFaceTokenizer Load(string modelFolder) => TryLoad(modelFolder) ?? throw new FileNotFoundException(
        $"No tokenizer in '{modelFolder}': looked for tokenizer.json, tokenizer.model, vocab.json with merges.txt, and qwen.tiktoken. "
        + "Put the model's tokenizer files there, set PipelineOptions.Tokenizer to a tokenizer of your own, or pass token ids instead of text.",
        Path.Combine(modelFolder, "tokenizer.json"));

    /// <summary>As <see cref="Load"/>, but null where the folder has none of these files.</summary>
    /// <exception cref="TokenizerFileException">A file is broken or asks for what is not supported, or of <c>vocab.json</c> and <c>merges.txt</c> only one is there.</exception>
    public static HuggingFaceTokenizer? TryLoad(string modelFolder)
    {
        ArgumentNullException.ThrowIfNull(modelFolder);
        string json = Path.Combine(modelFolder, "tokenizer.json");
        if (File.Exists(json)) return LoadFile(json);

        TokenizerConfig config = TokenizerConfig.Read(modelFolder);
        string model = Path.Combine(modelFolder, "tokenizer.model");
        if (File.Exists(model))
        {
            byte[] content = TokenizerFile.ReadAllBytes(model);
            return new HuggingFaceTokenizer(TiktokenFormat.IsTiktoken(content)
                ? TiktokenFormat.Read(model, content, config)
                : SentencePieceFormat.Read(model, content, config));
        }
        string vocabulary = Path.Combine(modelFolder, "vocab.json");
        string merges = Path.Combine(modelFolder, "merges.txt");
        bool hasMerges = File.Exists(merges);
        if (hasMerges && File.Exists(vocabulary)) return new HuggingFaceTokenizer(VocabularyAndMergesFormat.Read(vocabulary, merges, config));
        string tiktoken = Path.Combine(modelFolder, "qwen.tiktoken");
        if (File.Exists(tiktoken)) return new HuggingFaceTokenizer(TiktokenFormat.Read(tiktoken, TokenizerFile.ReadAllBytes(tiktoken), config));
        if (hasMerges || File.Exists(vocabulary))
        {
            throw new TokenizerFileException(hasMerges ? vocabulary : merges, "the whole file", $"is missing beside {(hasMerges ? "merges.txt" : "vocab.json")}; a tokenizer in this form is both, get it too");
        }
        return null;
    }

    /// <summary>Reads one <c>tokenizer.json</c>, with <c>tokenizer_config.json</c> beside it if there is one.</summary>
    /// <exception cref="TokenizerFileException">A file is broken or asks for what is not supported.</exception>
    public static HuggingFaceTokenizer LoadFile(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        TokenizerDefinition definition = TokenizerJsonFile.Read(path);
        TokenizerConfig config = TokenizerConfig.Read(Path.GetDirectoryName(Path.GetFullPath(path))!);
        return new HuggingFaceTokenizer(config.Apply(definition));
    }
}
