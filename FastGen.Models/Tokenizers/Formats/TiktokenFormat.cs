using System.Buffers.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// Makes a tokenizer from a list of byte strings in base64 with their ranks: Llama 3's original <c>tokenizer.model</c> and the first Qwen's
/// <c>qwen.tiktoken</c>.
/// </summary>
internal static class TiktokenFormat
{
    private const int QwenExtraTokens = 205;

    // These are written in the first Qwen's code, not in a file.
    private static readonly string[] QwenSpecialTokens =
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", .. Enumerable.Range(0, QwenExtraTokens).Select(number => $"<|extra_{number}|>")];

    /// <summary>True when the bytes can be such a list.</summary>
    public static bool IsTiktoken(ReadOnlySpan<byte> content)
    {
        int end = content.IndexOf((byte)'\n');
        return end > 0 && TryReadLine(content[..end], out _, out _);
    }

    /// <summary>The tokenizer of the file at <paramref name="path"/>, whose bytes are <paramref name="content"/>.</summary>
    public static TokenizerDefinition Read(string path, ReadOnlySpan<byte> content, TokenizerConfig config)
    {
        List<(byte[] Bytes, int Rank)> tokens = ReadTokens(path, content);
        Vocabulary vocabulary = new(tokens.Count);
        foreach ((byte[] bytes, int rank) in tokens)
        {
            string written = string.Create(bytes.Length, bytes, static (characters, bytes) =>
            {
                for (int i = 0; i < bytes.Length; i++) characters[i] = ByteAlphabet.ToCharacter(bytes[i]);
            });
            if (!vocabulary.Add(written, rank)) throw new TokenizerFileException(path, $"rank {rank}", "is not a token id");
        }

        bool isQwen = config.TokenizerClass == "QWenTokenizer" || Path.GetFileName(path) == "qwen.tiktoken";
        IEnumerable<AddedToken> inherent = isQwen ? QwenSpecialTokens.Select((content, index) => new AddedToken { Content = content, Id = tokens.Count + index, IsSpecial = true }) : [];
        IReadOnlyList<AddedToken> added = config.Complete(inherent, vocabulary);
        string? beginning = config.SpecialToken("bos_token");
        string? end = config.SpecialToken("eos_token") ?? (isQwen ? "<|endoftext|>" : null);
        return new TokenizerDefinition
        {
            Model = new BytePairModel(vocabulary, DerivedMerges.OfRankedBytes(tokens), new BytePairOptions { IgnoreMerges = true }),
            AddedTokens = added,
            Normalizer = isQwen ? new UnicodeFormNormalizer(composed: true, compatible: false) : null,
            PreTokenization =
            [
                new SplitStep(isQwen ? Cl100kWordPattern.Qwen : Cl100kWordPattern.Llama3, SplitBehavior.Isolated),
                new ByteLevelStep(addPrefixSpace: false, useWords: false),
            ],
            PostProcessor = SpecialTokenFrame.Create(
                vocabulary,
                before: config.Switch("add_bos_token") ?? true ? beginning : null,
                behind: config.Switch("add_eos_token") ?? false ? end : null,
                added),
            Decoder = new StageDecoder(static next => new ByteLevelStage(next)),
            BeginningOfSentence = beginning,
            EndOfSentence = end,
        };
    }

    private static List<(byte[] Bytes, int Rank)> ReadTokens(string path, ReadOnlySpan<byte> content)
    {
        List<(byte[] Bytes, int Rank)> tokens = [];
        int number = 0;
        foreach (Range range in content.Split((byte)'\n'))
        {
            number++;
            ReadOnlySpan<byte> line = content[range].TrimEnd("\r "u8);
            if (line.IsEmpty) continue;
            if (!TryReadLine(line, out byte[]? bytes, out int rank)) throw new TokenizerFileException(path, $"line {number}", "must be a token in base64, a space and its rank");
            tokens.Add((bytes, rank));
        }
        return tokens;
    }

    private static bool TryReadLine(ReadOnlySpan<byte> line, out byte[] bytes, out int rank)
    {
        bytes = [];
        rank = 0;
        line = line.TrimEnd("\r "u8);
        int space = line.IndexOf((byte)' ');
        if (space <= 0 || !Base64.IsValid(line[..space], out int length)) return false;
        if (!Utf8Parser.TryParse(line[(space + 1)..], out rank, out int consumed) || consumed != line.Length - space - 1 || rank < 0) return false;
        bytes = new byte[length];
        return Base64.DecodeFromUtf8(line[..space], bytes, out _, out _) == System.Buffers.OperationStatus.Done;
    }
}
