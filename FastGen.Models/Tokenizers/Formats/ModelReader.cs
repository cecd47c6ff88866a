using System.Text.Json;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// Reads the <c>model</c> of a <c>tokenizer.json</c>. Vocabulary and merges, nearly all of the file, go from the bytes of the file into
/// the model's tables without a string or an object in between.
/// </summary>
internal sealed class ModelReader
{
    private const string PrefixSetting = "continuing_subword_prefix";

    private readonly string _file;
    private readonly byte[] _json;
    private readonly Dictionary<string, JsonElement> _settings = [];
    private readonly List<double> _scores = [];
    private Vocabulary? _vocabulary;
    private MergeTable? _merges;
    private long _mergesStart = -1;
    private byte[] _token = new byte[256];
    private byte[] _leftToken = new byte[256];

    /// <summary>A reader for the file's bytes.</summary>
    public ModelReader(string file, byte[] json)
    {
        _file = file;
        _json = json;
    }

    /// <summary>Reads the model from its opening brace to its closing one.</summary>
    public TokenModel Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw Fault("model", "must be an object");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            switch (name)
            {
                case "vocab":
                    ReadVocabulary(ref reader);
                    break;
                case "merges" when _vocabulary is not null && _settings.ContainsKey(PrefixSetting):
                    _merges = ReadMerges(ref reader, _vocabulary, Setting(PrefixSetting).AsString(absent: "").Length);
                    break;
                case "merges":
                    // They need the vocabulary and the prefix; where these stand behind, the merges are read last.
                    _mergesStart = reader.TokenStartIndex;
                    reader.Skip();
                    break;
                default:
                    _settings[name] = JsonElement.ParseValue(ref reader);
                    break;
            }
        }
        return Build();
    }

    private TokenModel Build()
    {
        Vocabulary vocabulary = _vocabulary ?? throw Fault("model.vocab", "is absent");
        string type = Setting("type").AsString(absent: TypeByFields());
        switch (type)
        {
            case "BPE":
                return BuildBytePair(vocabulary);
            case "Unigram":
                int? unknown = Setting("unk_id").IsPresent ? Setting("unk_id").AsCount() : null;
                if (_scores.Count == 0) throw Fault("model.vocab", "must be an array of pairs of a token and its score, with at least one");
                if (unknown >= _scores.Count) throw Setting("unk_id").Fault($"must be below the size of the vocabulary, {_scores.Count}");
                return new UnigramModel(vocabulary, [.. _scores], unknown, Setting("byte_fallback").AsBoolean(false));
            case "WordPiece":
                return new WordPieceModel(
                    vocabulary,
                    Setting("unk_token").AsString(),
                    Setting("continuing_subword_prefix").AsString(absent: "##"),
                    Setting("max_input_chars_per_word").AsCount(absent: 100));
            case "WordLevel":
                return new WordLevelModel(vocabulary, Setting("unk_token").AsString());
            default:
                throw Setting("type").Fault("is not a supported model (supported: BPE, Unigram, WordPiece, WordLevel)");
        }
    }

    /// <summary>Old files do not name the type: the fields that only one of them has tell it.</summary>
    private string TypeByFields()
    {
        if (_scores.Count > 0) return "Unigram";
        if (_merges is not null || _mergesStart >= 0) return "BPE";
        if (Setting("max_input_chars_per_word").IsPresent && Setting(PrefixSetting).IsPresent) return "WordPiece";
        return Setting("unk_token").IsPresent ? "WordLevel" : "BPE";
    }

    private BytePairModel BuildBytePair(Vocabulary vocabulary)
    {
        JsonField dropout = Setting("dropout");
        if (dropout.IsPresent && !(dropout.Value.ValueKind == JsonValueKind.Number && dropout.Value.GetDouble() == 0))
        {
            throw dropout.Fault("must be null: dropout makes tokenizing random and serves training only");
        }
        BytePairOptions options = new()
        {
            UnknownToken = Setting("unk_token").IsPresent ? Setting("unk_token").AsString() : null,
            FuseUnknown = Setting("fuse_unk").AsBoolean(false),
            ByteFallback = Setting("byte_fallback").AsBoolean(false),
            IgnoreMerges = Setting("ignore_merges").AsBoolean(false),
            ContinuingSubwordPrefix = Setting(PrefixSetting).AsString(absent: ""),
            EndOfWordSuffix = Setting("end_of_word_suffix").AsString(absent: ""),
        };
        return new BytePairModel(vocabulary, _merges ?? ReadSkippedMerges(vocabulary, options.ContinuingSubwordPrefix.Length), options);
    }

    private void ReadVocabulary(ref Utf8JsonReader reader)
    {
        VocabularyReader vocabulary = new(_file, "model.vocab", _json.Length);
        _vocabulary = reader.TokenType == JsonTokenType.StartArray ? vocabulary.ReadScores(ref reader, _scores) : vocabulary.ReadIds(ref reader);
    }

    private MergeTable ReadSkippedMerges(Vocabulary vocabulary, int prefixLength)
    {
        if (_mergesStart < 0) throw Fault("model.merges", "is absent");
        Utf8JsonReader reader = new(_json.AsSpan((int)_mergesStart));
        reader.Read();
        return ReadMerges(ref reader, vocabulary, prefixLength);
    }

    private MergeTable ReadMerges(ref Utf8JsonReader reader, Vocabulary vocabulary, int prefixLength)
    {
        MergeTableBuilder merges = new(vocabulary, prefixLength);
        if (reader.TokenType != JsonTokenType.StartArray) throw Fault("model.merges", "must be an array");
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            MergeProblem problem = reader.TokenType switch
            {
                JsonTokenType.String => merges.AddLine(VocabularyReader.Utf8(ref reader, ref _token)),
                JsonTokenType.StartArray => ReadMergePair(ref reader, merges),
                _ => MergeProblem.NotAPair,
            };
            if (problem != MergeProblem.None) throw Fault($"model.merges[{merges.Count}]", merges.Describe(problem));
        }
        return merges.Build();
    }

    private MergeProblem ReadMergePair(ref Utf8JsonReader reader, MergeTableBuilder merges)
    {
        if (!reader.Read() || reader.TokenType != JsonTokenType.String) return MergeProblem.NotAPair;
        ReadOnlySpan<byte> left = VocabularyReader.Utf8(ref reader, ref _leftToken);
        if (!reader.Read() || reader.TokenType != JsonTokenType.String) return MergeProblem.NotAPair;
        ReadOnlySpan<byte> right = VocabularyReader.Utf8(ref reader, ref _token);
        return reader.Read() && reader.TokenType == JsonTokenType.EndArray ? merges.Add(left, right) : MergeProblem.NotAPair;
    }

    private JsonField Setting(string name) => new(_file, $"model.{name}", _settings.GetValueOrDefault(name));

    private TokenizerFileException Fault(string field, string problem) => new(_file, field, problem);
}
