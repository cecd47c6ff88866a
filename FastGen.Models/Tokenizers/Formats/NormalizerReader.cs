namespace FastGen.Models.Tokenizers;

/// <summary>Reads the <c>normalizer</c> of a <c>tokenizer.json</c>.</summary>
internal static class NormalizerReader
{
    /// <summary>The normalizer; null where the file has none.</summary>
    public static TextNormalizer? Read(JsonField field)
    {
        if (!field.IsPresent) return null;
        return field["type"].AsString() switch
        {
            "NFC" => new UnicodeFormNormalizer(composed: true, compatible: false),
            "NFD" => new UnicodeFormNormalizer(composed: false, compatible: false),
            "NFKC" => new UnicodeFormNormalizer(composed: true, compatible: true),
            "NFKD" => new UnicodeFormNormalizer(composed: false, compatible: true),
            "Sequence" => new SequenceNormalizer([.. field["normalizers"].Elements().Select(Read).OfType<TextNormalizer>()]),
            "Prepend" => new PrependNormalizer(field["prepend"].AsString()),
            "Replace" => new ReplaceNormalizer(PatternReader.Read(field["pattern"]), field["content"].AsString()),
            "Lowercase" => new LowercaseNormalizer(),
            "Strip" => new StripNormalizer(field["strip_left"].AsBoolean(true), field["strip_right"].AsBoolean(true)),
            "StripAccents" => new StripAccentsNormalizer(),
            "Nmt" => new NmtNormalizer(),
            "ByteLevel" => new ByteLevelNormalizer(),
            "BertNormalizer" => ReadBert(field),
            "Precompiled" => ReadPrecompiled(field["precompiled_charsmap"]),
            _ => throw field["type"].Fault(
                "is not a supported normalizer (supported: NFC, NFD, NFKC, NFKD, Sequence, Prepend, Replace, Lowercase, Strip, StripAccents, Nmt, ByteLevel, BertNormalizer, Precompiled)"),
        };
    }

    private static BertNormalizer ReadBert(JsonField field)
    {
        bool lowercase = field["lowercase"].AsBoolean(true);
        return new BertNormalizer(
            field["clean_text"].AsBoolean(true),
            field["handle_chinese_chars"].AsBoolean(true),
            stripAccents: field["strip_accents"].AsBoolean(lowercase),
            lowercase);
    }

    private static TextNormalizer ReadPrecompiled(JsonField map)
    {
        if (map.AsString(absent: "").Length == 0) return new SequenceNormalizer([]);
        if (!map.Value.TryGetBytesFromBase64(out byte[]? bytes)) throw map.Fault("must be base64");
        return PrecompiledNormalizer.Read(bytes) ?? throw map.Fault("is not a compiled character map");
    }
}

/// <summary>Reads the <c>pattern</c> of a component: <c>{"String": …}</c> or <c>{"Regex": …}</c>.</summary>
internal static class PatternReader
{
    /// <summary>The pattern.</summary>
    public static TextPattern Read(JsonField field)
    {
        JsonField literal = field["String"];
        if (literal.IsPresent) return literal.AsString().Length > 0 ? new LiteralPattern(literal.AsString()) : throw literal.Fault("must not be empty");
        JsonField expression = field["Regex"];
        if (!expression.IsPresent) throw field.Fault("must be an object with a member 'String' or 'Regex'");
        try
        {
            return RegexPattern.Create(expression.AsString());
        }
        catch (ArgumentException exception)
        {
            throw expression.Fault($"is not a supported regular expression ({exception.Message})", exception);
        }
    }
}
