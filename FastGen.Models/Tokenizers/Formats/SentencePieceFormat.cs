namespace FastGen.Models.Tokenizers;

/// <summary>
/// Makes a tokenizer from a SentencePiece model and its configuration, as Hugging Face's <c>LlamaTokenizer</c> does. Without the switch
/// <c>legacy: false</c> the ids are those of SentencePiece itself.
/// </summary>
internal static class SentencePieceFormat
{
    private const char Space = '\u2581';

    /// <summary>The tokenizer of the file at <paramref name="path"/>, whose bytes are <paramref name="content"/>.</summary>
    public static TokenizerDefinition Read(string path, ReadOnlySpan<byte> content, TokenizerConfig config)
    {
        SentencePieceFile file = SentencePieceFile.Read(path, content);
        Vocabulary vocabulary = new(file.Pieces.Count);
        for (int id = 0; id < file.Pieces.Count; id++) vocabulary.Add(file.Pieces[id].Text, id);
        int unknownId = file.Pieces.FindIndex(piece => piece.Type == PieceType.Unknown);
        if (unknownId < 0) throw new TokenizerFileException(path, "pieces", "has no unknown token");

        bool addsPrefix = config.Switch("add_prefix_space") ?? file.AddDummyPrefix;
        (TextNormalizer? normalizer, IReadOnlyList<PreTokenizationStep> steps) = ReadSpaces(path, file, addsPrefix, isLegacy: config.Switch("legacy") ?? true);
        string? beginning = config.SpecialToken("bos_token") ?? ControlPiece(file, "<s>");
        string? end = config.SpecialToken("eos_token") ?? ControlPiece(file, "</s>");
        IEnumerable<AddedToken> added = file.Pieces
            .Select((piece, id) => (piece, id))
            .Where(entry => entry.piece.Type is PieceType.Unknown or PieceType.Control or PieceType.UserDefined && entry.piece.Text.Length > 0)
            .Select(entry => new AddedToken { Content = entry.piece.Text, Id = entry.id, IsSpecial = entry.piece.Type != PieceType.UserDefined });
        return new TokenizerDefinition
        {
            Model = file.IsBytePair
                ? new BytePairModel(
                    vocabulary,
                    DerivedMerges.OfScoredPieces(file.Pieces, vocabulary),
                    new BytePairOptions { UnknownToken = file.Pieces[unknownId].Text, FuseUnknown = true, ByteFallback = file.ByteFallback })
                : new UnigramModel(vocabulary, [.. file.Pieces.Select(piece => (double)piece.Score)], unknownId, file.ByteFallback),
            AddedTokens = config.Complete(added, vocabulary),
            Normalizer = normalizer,
            PreTokenization = steps,
            PostProcessor = SpecialTokenFrame.Create(
                vocabulary,
                before: config.Switch("add_bos_token") ?? true ? beginning : null,
                behind: config.Switch("add_eos_token") ?? false ? end : null),
            Decoder = CreateDecoder(addsPrefix),
            BeginningOfSentence = beginning,
            EndOfSentence = end,
        };
    }

    private static (TextNormalizer? Normalizer, IReadOnlyList<PreTokenizationStep> Steps) ReadSpaces(string path, SentencePieceFile file, bool addsPrefix, bool isLegacy)
    {
        List<TextNormalizer> normalizers = [];
        if (file.CharacterMap.Length > 0)
        {
            normalizers.Add(PrecompiledNormalizer.Read(file.CharacterMap)
                ?? throw new TokenizerFileException(path, "normalizer_spec.precompiled_charsmap", "is not a compiled character map"));
        }
        if (file.RemoveExtraWhiteSpace)
        {
            normalizers.Add(new StripNormalizer(left: true, right: true, only: ' '));
            normalizers.Add(new ReplaceNormalizer(RegexPattern.Create(" {2,}"), " "));
        }
        List<PreTokenizationStep> steps = [];
        if (!isLegacy)
        {
            steps.Add(new MetaspaceStep(Space, addsPrefix ? PrependScheme.First : PrependScheme.Never, split: false));
        }
        else
        {
            if (addsPrefix) normalizers.Add(new PrependNormalizer(Space.ToString()));
            normalizers.Add(new ReplaceNormalizer(new LiteralPattern(" "), Space.ToString()));
        }
        return (normalizers.Count == 0 ? null : new SequenceNormalizer(normalizers), steps);
    }

    private static SequenceDecoder CreateDecoder(bool addsPrefix)
    {
        List<TokenDecoder> decoders =
        [
            new StageDecoder(static next => new ReplaceCharacterStage(next, Space, " ")),
            new StageDecoder(static next => new ByteFallbackStage(next)),
            new StageDecoder(static next => new FuseStage(next)),
        ];
        if (addsPrefix) decoders.Add(new StageDecoder(static next => new StripStage(next, ' ', start: 1, stop: 0)));
        return new SequenceDecoder(decoders);
    }

    private static string? ControlPiece(SentencePieceFile file, string text) =>
        file.Pieces.Any(piece => piece.Type == PieceType.Control && piece.Text == text) ? text : null;
}
