namespace FastGen.Models.Tokenizers;

/// <summary>Reads the <c>decoder</c> of a <c>tokenizer.json</c>.</summary>
internal static class DecoderReader
{
    /// <summary>The decoder; null where the file has none.</summary>
    public static TokenDecoder? Read(JsonField field)
    {
        if (!field.IsPresent) return null;
        if (field["type"].AsString() == "Sequence") return new SequenceDecoder([.. field["decoders"].Elements().Select(Read).OfType<TokenDecoder>()]);
        return new StageDecoder(ReadStage(field));
    }

    private static Func<DecodingStage, DecodingStage> ReadStage(JsonField field)
    {
        switch (field["type"].AsString())
        {
            case "ByteLevel":
                return static next => new ByteLevelStage(next);
            case "ByteFallback":
                return static next => new ByteFallbackStage(next);
            case "Fuse":
                return static next => new FuseStage(next);
            case "Replace":
                return ReadReplace(field);
            case "Metaspace":
                char replacement = field["replacement"].AsCharacter();
                bool drops = MetaspaceReader.ReadScheme(field) != PrependScheme.Never;
                return next => new MetaspaceStage(next, replacement, drops);
            case "Strip":
                (char content, int start, int stop) = (field["content"].AsCharacter(), field["start"].AsCount(), field["stop"].AsCount());
                return next => new StripStage(next, content, start, stop);
            case "WordPiece":
                (string prefix, bool cleanUp) = (field["prefix"].AsString(absent: "##"), field["cleanup"].AsBoolean(true));
                return next => new WordPieceStage(next, prefix, cleanUp);
            case "BPEDecoder":
                string suffix = field["suffix"].AsString(absent: "</w>");
                return next => new WordSuffixStage(next, suffix);
            default:
                throw field["type"].Fault(
                    "is not a supported decoder (supported: Sequence, ByteLevel, ByteFallback, Fuse, Replace, Metaspace, Strip, WordPiece, BPEDecoder)");
        }
    }

    private static Func<DecodingStage, DecodingStage> ReadReplace(JsonField field)
    {
        TextPattern pattern = PatternReader.Read(field["pattern"]);
        string content = field["content"].AsString();
        return pattern is LiteralPattern { Literal: [char single] }
            ? next => new ReplaceCharacterStage(next, single, content)
            : next => new ReplaceStage(next, pattern, content);
    }
}
