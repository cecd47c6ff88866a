using System.Text.Json;

namespace FastGen.Models.Tokenizers;

/// <summary>Makes a tokenizer from <c>vocab.json</c> and <c>merges.txt</c>, the files of GPT-2, OPT, Phi-2 and Qwen.</summary>
internal static class VocabularyAndMergesFormat
{
    private const string EndOfText = "<|endoftext|>";

    /// <summary>The tokenizer of the two files.</summary>
    public static TokenizerDefinition Read(string vocabularyPath, string mergesPath, TokenizerConfig config)
    {
        Vocabulary vocabulary = ReadVocabulary(vocabularyPath);
        Family family = FamilyOf(config, vocabulary);
        string? beginning = config.SpecialToken("bos_token") ?? family.BeginningOfSentence;
        string? end = config.SpecialToken("eos_token") ?? family.EndOfSentence;
        IEnumerable<AddedToken> defaults = family.OtherSpecialTokens.Append(family.BeginningOfSentence).Append(family.EndOfSentence)
            .OfType<string>().Distinct()
            .Select(token => new AddedToken { Content = token, Id = vocabulary.IdOf(token), IsSpecial = true })
            .Where(token => token.Id >= 0);
        IReadOnlyList<AddedToken> listed = config.Complete([], vocabulary);
        IReadOnlyList<AddedToken> added = [.. listed, .. defaults.Where(token => listed.All(other => other.Content != token.Content))];
        ByteLevelStep byteLevel = new(config.Switch("add_prefix_space") ?? false, useWords: family.Words is null);
        return new TokenizerDefinition
        {
            Model = new BytePairModel(vocabulary, ReadMerges(mergesPath, vocabulary), new BytePairOptions()),
            AddedTokens = added,
            Normalizer = family.ComposesCharacters ? new UnicodeFormNormalizer(composed: true, compatible: false) : null,
            PreTokenization = family.Words is null ? [byteLevel] : [new SplitStep(family.Words, SplitBehavior.Isolated), byteLevel],
            PostProcessor = SpecialTokenFrame.Create(
                vocabulary,
                before: config.Switch("add_bos_token") ?? family.AddsBeginning ? beginning : null,
                behind: config.Switch("add_eos_token") ?? family.AddsEnd ? end : null,
                added),
            Decoder = new StageDecoder(static next => new ByteLevelStage(next)),
            BeginningOfSentence = beginning,
            EndOfSentence = end,
        };
    }

    private static Family FamilyOf(TokenizerConfig config, Vocabulary vocabulary)
    {
        switch (config.TokenizerClass)
        {
            case "Qwen2Tokenizer":
                return new Family { EndOfSentence = EndOfText, Words = Cl100kWordPattern.Qwen, ComposesCharacters = true };
            case "RobertaTokenizer" or "BartTokenizer" or "LongformerTokenizer":
                return new Family { BeginningOfSentence = "<s>", EndOfSentence = "</s>", OtherSpecialTokens = ["<pad>", "<unk>", "<mask>"], AddsBeginning = true, AddsEnd = true };
        }
        // OPT has RoBERTa's order of special tokens, and puts </s> in front; its publisher's own files come without configuration. A configuration names the special tokens, and no others.
        bool isOpt = vocabulary.IdOf("<s>") == 0 && vocabulary.IdOf("<pad>") == 1 && vocabulary.IdOf("</s>") == 2;
        return isOpt
            ? new Family { BeginningOfSentence = "</s>", EndOfSentence = "</s>", OtherSpecialTokens = config.IsPresent ? [] : ["<s>", "<pad>", "<unk>"], AddsBeginning = !config.IsPresent }
            : new Family { BeginningOfSentence = EndOfText, EndOfSentence = EndOfText };
    }

    private static Vocabulary ReadVocabulary(string path)
    {
        byte[] json = TokenizerFile.ReadAllBytes(path);
        try
        {
            Utf8JsonReader reader = new(json);
            reader.Read();
            return new VocabularyReader(path, "the vocabulary", json.Length).ReadIds(ref reader);
        }
        catch (JsonException exception)
        {
            throw new TokenizerFileException(path, "the whole file", $"is not valid JSON ({exception.Message}); {ModelFile.GetAgain}", exception);
        }
    }

    private static MergeTable ReadMerges(string path, Vocabulary vocabulary)
    {
        MergeTableBuilder merges = new(vocabulary);
        ReadOnlySpan<byte> content = TokenizerFile.ReadAllBytes(path);
        int number = 0;
        foreach (Range range in content.Split((byte)'\n'))
        {
            number++;
            ReadOnlySpan<byte> line = content[range].TrimEnd((byte)'\r');
            if (line.IsEmpty || line.StartsWith("#version"u8)) continue;
            MergeProblem problem = merges.AddLine(line);
            if (problem != MergeProblem.None) throw new TokenizerFileException(path, $"line {number}", merges.Describe(problem));
        }
        return merges.Build();
    }

    /// <summary>What a family's tokenizer class says and no file does.</summary>
    private sealed record Family
    {
        public string? BeginningOfSentence { get; init; }

        public string? EndOfSentence { get; init; }

        public IReadOnlyList<string?> OtherSpecialTokens { get; init; } = [];

        public bool AddsBeginning { get; init; }

        public bool AddsEnd { get; init; }

        public bool ComposesCharacters { get; init; }

        public WordPattern? Words { get; init; }
    }
}
