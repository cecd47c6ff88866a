using System.Text.Json;
using System.Text.Json.Nodes;

namespace FastGen.Models;

/// <summary>A chat template as a file has it.</summary>
/// <param name="Text">Its Jinja source.</param>
/// <param name="File">The file.</param>
internal sealed record TemplateSource(string Text, string File);

/// <summary>The chat templates and special tokens that the files of a model folder hold.</summary>
internal sealed class ChatTemplateFiles
{
    private const string DefaultName = "default";

    private static readonly string[] TokenFields =
        ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "additional_special_tokens"];

    private readonly string _folder;
    private readonly Dictionary<string, TemplateSource> _templates = [];
    private readonly Dictionary<string, JsonNode?> _specialTokens = [];

    private ChatTemplateFiles(string folder) => _folder = folder;

    /// <summary>Sources by name.</summary>
    public IReadOnlyDictionary<string, TemplateSource> Templates => _templates;

    /// <summary>The special tokens' texts by field name.</summary>
    public IReadOnlyDictionary<string, JsonNode?> SpecialTokens => _specialTokens;

    /// <summary>Reads the files from the weakest to the strongest source.</summary>
    public static ChatTemplateFiles Read(string folder)
    {
        if (!Directory.Exists(folder)) throw new DirectoryNotFoundException($"The model folder '{folder}' does not exist.");
        ChatTemplateFiles files = new(folder);
        files.ReadTokenizerConfig();
        files.ReadTemplateJson();
        files.ReadTemplateFiles();
        return files;
    }

    /// <summary>The source called <paramref name="name"/>, or the default one.</summary>
    public TemplateSource Choose(string? name)
    {
        if (_templates.TryGetValue(name ?? DefaultName, out TemplateSource? source)) return source;
        string known = _templates.Count == 0 ? "none" : string.Join(", ", _templates.Keys.Order(StringComparer.Ordinal).Select(known => $"'{known}'"));
        throw Invalid(name is null
            ? $"The model folder '{_folder}' has several chat templates and none is the default: {known}. Pass the name of one."
            : $"The model folder '{_folder}' has no chat template called '{name}'; it has {known}.");
    }

    private void ReadTokenizerConfig()
    {
        const string file = "tokenizer_config.json";
        if (ReadJson("special_tokens_map.json") is JsonObject map) ReadSpecialTokens(map, "special_tokens_map.json");
        if (ReadJson(file) is not JsonObject config) return;
        ReadSpecialTokens(config, file);
        AddTemplates(config["chat_template"], file);
    }

    private void ReadSpecialTokens(JsonObject config, string file)
    {
        foreach (string field in TokenFields)
        {
            JsonNode? value = config[field];
            if (value is null) continue;
            _specialTokens[field] = value is JsonArray several
                ? new JsonArray([.. several.Select(token => (JsonNode?)TokenText(token, field, file))])
                : TokenText(value, field, file);
        }
        // A model may have tokens of its own, such as image_token, each under its name.
        if (config["extra_special_tokens"] is not JsonObject named) return;
        foreach ((string name, JsonNode? token) in named) _specialTokens[name] = TokenText(token, $"extra_special_tokens.{name}", file);
    }

    /// <summary>A token given as text, or as an object with the text in <c>content</c>.</summary>
    private string TokenText(JsonNode? token, string field, string file)
    {
        if (TextOf(token is JsonObject added ? added["content"] : token) is { } content) return content;
        throw Invalid($"'{Path.Combine(_folder, file)}': the field '{field}' is {Shown(token)}; a text or an object with 'content' is expected.");
    }

    private void ReadTemplateJson()
    {
        const string file = "chat_template.json";
        if (ReadJson(file) is JsonObject holder) AddTemplates(holder["chat_template"], file);
    }

    /// <summary>Adds a template given as text, or several as a list of objects with <c>name</c> and <c>template</c>.</summary>
    private void AddTemplates(JsonNode? value, string file)
    {
        switch (value)
        {
            case null:
                return;
            case JsonValue single when TextOf(single) is { } source:
                _templates.Clear();
                _templates[DefaultName] = new TemplateSource(source, Path.Combine(_folder, file));
                return;
            case JsonArray several:
                _templates.Clear();
                foreach (JsonNode? item in several) AddNamed(item, file);
                return;
            default:
                throw Invalid($"'{Path.Combine(_folder, file)}': the field 'chat_template' is neither a text nor a list of objects with 'name' and 'template'.");
        }
    }

    private void AddNamed(JsonNode? item, string file)
    {
        if (item is JsonObject entry && TextOf(entry["name"]) is { } key && TextOf(entry["template"]) is { } source)
        {
            _templates[key] = new TemplateSource(source, Path.Combine(_folder, file));
            return;
        }
        throw Invalid($"'{Path.Combine(_folder, file)}': an entry of 'chat_template' is {Shown(item)}; an object with the texts 'name' and 'template' is expected.");
    }

    private void ReadTemplateFiles()
    {
        string main = Path.Combine(_folder, "chat_template.jinja");
        string additional = Path.Combine(_folder, "additional_chat_templates");
        string[] named = Directory.Exists(additional) ? Directory.GetFiles(additional, "*.jinja") : [];
        if (File.Exists(main) || named.Length > 0) _templates.Clear();
        if (File.Exists(main)) _templates[DefaultName] = new TemplateSource(ReadText(main), main);
        foreach (string path in named.Order(StringComparer.Ordinal)) _templates[Path.GetFileNameWithoutExtension(path)] = new TemplateSource(ReadText(path), path);
    }

    private JsonNode? ReadJson(string file)
    {
        string path = Path.Combine(_folder, file);
        if (!File.Exists(path)) return null;
        try
        {
            JsonNode? root = JsonNode.Parse(ReadText(path), documentOptions: new JsonDocumentOptions { MaxDepth = 256, AllowDuplicateProperties = false });
            return root as JsonObject ?? throw Invalid($"'{path}' does not hold a JSON object.");
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw new ChatTemplateException($"'{path}' is not valid JSON: {error.Message}", ChatTemplateFault.File, error.Message, null, error);
        }
    }

    // Null where it is none, or none that .NET can hold: an escape may be half a surrogate pair.
    private static string? TextOf(JsonNode? node)
    {
        try
        {
            return node is JsonValue value && value.TryGetValue(out string? text) ? text : null;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    private static string Shown(JsonNode? node)
    {
        try
        {
            return node?.ToJsonString() ?? "null";
        }
        catch (InvalidOperationException)
        {
            return "text with half a surrogate pair";
        }
    }

    private static string ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ChatTemplateException($"'{path}' {ModelFile.Unreadable(path, exception)}.", ChatTemplateFault.File, exception.Message, null, exception);
        }
    }

    private static ChatTemplateException Invalid(string message) => new(message, ChatTemplateFault.File, message, null);
}
