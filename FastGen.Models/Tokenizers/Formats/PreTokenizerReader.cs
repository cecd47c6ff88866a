namespace FastGen.Models.Tokenizers;

/// <summary>Reads the <c>pre_tokenizer</c> of a <c>tokenizer.json</c>.</summary>
internal static class PreTokenizerReader
{
    /// <summary>The steps; none where the file has no pre-tokenizer.</summary>
    public static IReadOnlyList<PreTokenizationStep> Read(JsonField field)
    {
        if (!field.IsPresent) return [];
        if (field["type"].AsString() == "Sequence") return [.. field["pretokenizers"].Elements().SelectMany(Read)];
        return [ReadStep(field)];
    }

    private static PreTokenizationStep ReadStep(JsonField field) => field["type"].AsString() switch
    {
        "ByteLevel" => new ByteLevelStep(field["add_prefix_space"].AsBoolean(true), field["use_regex"].AsBoolean(true)),
        "Metaspace" => new MetaspaceStep(field["replacement"].AsCharacter(), MetaspaceReader.ReadScheme(field), field["split"].AsBoolean(true)),
        "Split" => new SplitStep(PatternReader.Read(field["pattern"]), ReadBehavior(field["behavior"]), field["invert"].AsBoolean(false)),
        "Digits" => ReadDigits(field),
        "Punctuation" => new SplitStep(
            new CharacterClassPattern(CharacterClass.Punctuation, joinRuns: false),
            field["behavior"].IsPresent ? ReadBehavior(field["behavior"]) : SplitBehavior.Isolated),
        "Whitespace" => new SplitStep(new WordOrSymbolPattern(), SplitBehavior.Removed, invert: true),
        "WhitespaceSplit" => new SplitStep(new CharacterClassPattern(CharacterClass.WhiteSpace, joinRuns: false), SplitBehavior.Removed),
        "CharDelimiterSplit" => new SplitStep(new LiteralPattern(field["delimiter"].AsRune().ToString()), SplitBehavior.Removed),
        "BertPreTokenizer" => new BertStep(),
        _ => throw field["type"].Fault(
            "is not a supported pre-tokenizer (supported: Sequence, ByteLevel, Metaspace, Split, Digits, Punctuation, Whitespace, WhitespaceSplit, CharDelimiterSplit, BertPreTokenizer)"),
    };

    private static SplitStep ReadDigits(JsonField field)
    {
        bool individual = field["individual_digits"].AsBoolean(false);
        return new SplitStep(new CharacterClassPattern(CharacterClass.Number, joinRuns: !individual), SplitBehavior.Isolated);
    }

    private static SplitBehavior ReadBehavior(JsonField field) => field.AsString() switch
    {
        "Removed" => SplitBehavior.Removed,
        "Isolated" => SplitBehavior.Isolated,
        "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
        "MergedWithNext" => SplitBehavior.MergedWithNext,
        "Contiguous" => SplitBehavior.Contiguous,
        _ => throw field.Fault("must be Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"),
    };
}

/// <summary>Reads what the two forms of <c>Metaspace</c>, as pre-tokenizer and as decoder, have in common.</summary>
internal static class MetaspaceReader
{
    /// <summary>The scheme: <c>prepend_scheme</c>, or <c>add_prefix_space</c> of older files.</summary>
    public static PrependScheme ReadScheme(JsonField field)
    {
        JsonField scheme = field["prepend_scheme"];
        if (!scheme.IsPresent) return field["add_prefix_space"].AsBoolean(true) ? PrependScheme.Always : PrependScheme.Never;
        return scheme.AsString() switch
        {
            "always" => PrependScheme.Always,
            "first" => PrependScheme.First,
            "never" => PrependScheme.Never,
            _ => throw scheme.Fault("must be always, first or never"),
        };
    }
}
