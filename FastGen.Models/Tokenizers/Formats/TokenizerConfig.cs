using System.Globalization;
using System.Text.Json;
using System.Text.Unicode;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// What stands beside a tokenizer's own files: <c>tokenizer_config.json</c>, and the older <c>special_tokens_map.json</c> and
/// <c>added_tokens.json</c>. All of them may be absent.
/// </summary>
internal sealed class TokenizerConfig
{
    private static readonly string[] SpecialTokenNames =
        ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

    private readonly JsonField _config;
    private readonly JsonField _specialTokens;
    private readonly JsonField _addedTokens;

    private TokenizerConfig(string folder)
    {
        _config = ReadObject(folder, "tokenizer_config.json");
        _specialTokens = ReadObject(folder, "special_tokens_map.json");
        _addedTokens = ReadObject(folder, "added_tokens.json");
    }

    /// <summary>The configuration in a folder.</summary>
    public static TokenizerConfig Read(string folder) => new(folder);

    /// <summary>The class of Hugging Face's library that the files were made for, without "Fast"; empty where none is named.</summary>
    public string TokenizerClass
    {
        get
        {
            string name = _config["tokenizer_class"].AsString(absent: "");
            return name.EndsWith("Fast", StringComparison.Ordinal) ? name[..^4] : name;
        }
    }

    /// <summary>True where a configuration says anything at all.</summary>
    public bool IsPresent => _config.Members().Any();

    /// <summary>The switch <paramref name="name"/>, such as <c>add_bos_token</c>; null where it is not set.</summary>
    public bool? Switch(string name) => _config[name].IsPresent ? _config[name].AsBoolean(false) : null;

    /// <summary>The text of the special token <paramref name="name"/>, such as <c>bos_token</c>; null where it is not set.</summary>
    public string? SpecialToken(string name)
    {
        JsonField field = _config[name].IsPresent ? _config[name] : _specialTokens[name];
        return !field.IsPresent ? null : Content(field);
    }

    /// <summary>
    /// Adds to <paramref name="tokens"/> what the configuration adds: the tokens it lists with ids, and the special tokens it names that
    /// the vocabulary has. A token that is there already keeps its id and matches as the configuration lists it.
    /// </summary>
    public IReadOnlyList<AddedToken> Complete(IEnumerable<AddedToken> tokens, Vocabulary vocabulary)
    {
        Dictionary<string, AddedToken> all = new(StringComparer.Ordinal);
        foreach (AddedToken token in tokens) all.TryAdd(token.Content, token);
        foreach (AddedToken token in ListedTokens())
        {
            if (!all.TryAdd(token.Content, token) && _config["added_tokens_decoder"].IsPresent) all[token.Content] = Relisted(all[token.Content], token);
        }
        foreach (string special in NamedSpecialTokens())
        {
            if (all.TryGetValue(special, out AddedToken? listed))
            {
                bool fromOldFile = _addedTokens[special].IsPresent && !_config["added_tokens_decoder"].IsPresent;
                if (fromOldFile) all[special] = listed with { IsSpecial = true, IsNormalized = false };
                continue;
            }
            int id = vocabulary.IdOf(special);
            if (id >= 0) all.Add(special, new AddedToken { Content = special, Id = id, IsSpecial = true });
        }
        return [.. all.Values];
    }

    /// <summary>
    /// <paramref name="definition"/>, read from a <c>tokenizer.json</c>, with what the configuration adds. The classes that build their
    /// frame of special tokens themselves go by <c>add_bos_token</c> and <c>add_eos_token</c>, whatever the file says.
    /// </summary>
    public TokenizerDefinition Apply(TokenizerDefinition definition)
    {
        IReadOnlyList<AddedToken> added = Complete(definition.AddedTokens, definition.Model.Vocabulary);
        string? beginning = SpecialToken("bos_token");
        string? end = SpecialToken("eos_token");
        bool framesItself = TokenizerClass is "LlamaTokenizer" or "CodeLlamaTokenizer" or "GemmaTokenizer" && (Switch("add_bos_token") ?? Switch("add_eos_token")) is not null;
        return definition with
        {
            AddedTokens = added,
            BeginningOfSentence = beginning,
            EndOfSentence = end,
            PostProcessor = !framesItself ? definition.PostProcessor : SpecialTokenFrame.Create(
                definition.Model.Vocabulary,
                before: Switch("add_bos_token") ?? true ? beginning : null,
                behind: Switch("add_eos_token") ?? false ? end : null,
                added),
        };
    }

    /// <summary>As Hugging Face's library does when a token is added again: once special it stays so, and a special one is looked for where it was.</summary>
    private static AddedToken Relisted(AddedToken token, AddedToken listed) => listed with
    {
        Id = token.Id,
        IsSpecial = token.IsSpecial || listed.IsSpecial,
        IsNormalized = token.IsSpecial ? token.IsNormalized : listed.IsNormalized,
    };

    private IEnumerable<AddedToken> ListedTokens()
    {
        JsonField listed = _config["added_tokens_decoder"];
        foreach ((string name, JsonField field) in listed.IsPresent ? listed.Members() : [])
        {
            if (!int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int id)) throw field.Fault($"must be named by a token id, not '{name}'");
            yield return AddedTokenReader.Read(field, id);
        }
        foreach ((string content, JsonField id) in _addedTokens.Members())
        {
            yield return new AddedToken { Content = content, Id = id.AsCount(), IsNormalized = true };
        }
    }

    private IEnumerable<string> NamedSpecialTokens()
    {
        foreach (string name in SpecialTokenNames)
        {
            if (SpecialToken(name) is { } token) yield return token;
        }
        foreach (JsonField source in new[] { _config, _specialTokens })
        {
            foreach (string name in new[] { "additional_special_tokens", "extra_special_tokens" })
            {
                foreach (JsonField token in OtherTokens(source[name])) yield return Content(token);
            }
        }
    }

    // The newer field may also be an object that gives each token a name.
    private static IEnumerable<JsonField> OtherTokens(JsonField field) =>
        !field.IsPresent ? [] : field.Value.ValueKind == JsonValueKind.Object ? field.Members().Select(member => member.Field) : field.Elements();

    // A special token is its text, or an object that also says how it matches.
    private static string Content(JsonField field) => field.Value.ValueKind == JsonValueKind.Object ? field["content"].AsString() : field.AsString();

    private static JsonField ReadObject(string folder, string name)
    {
        string path = Path.Combine(folder, name);
        if (!File.Exists(path)) return new JsonField(path, "", EmptyObject());
        byte[] json = TokenizerFile.ReadAllBytes(path);
        // The parser itself looks at the inside of texts only when they are asked for.
        if (!Utf8.IsValid(json)) throw new TokenizerFileException(path, "the whole file", $"is not valid UTF-8; {ModelFile.GetAgain}");
        try
        {
            ReadOnlyMemory<byte> content = json.AsSpan().StartsWith("\uFEFF"u8) ? json.AsMemory(3) : json;
            using JsonDocument document = JsonDocument.Parse(content);
            if (document.RootElement.ValueKind != JsonValueKind.Object) throw new TokenizerFileException(path, "the whole file", $"must be a JSON object; {ModelFile.GetAgain}");
            return new JsonField(path, "", document.RootElement.Clone());
        }
        catch (JsonException exception)
        {
            throw new TokenizerFileException(path, "the whole file", $"is not valid JSON ({exception.Message}); {ModelFile.GetAgain}", exception);
        }
    }

    private static JsonElement EmptyObject()
    {
        using JsonDocument document = JsonDocument.Parse("{}");
        return document.RootElement.Clone();
    }
}
