using System.Text.Json;

namespace FastGen.Models.Tokenizers;

/// <summary>Reads a <c>tokenizer.json</c> as Hugging Face's tokenizers write it. Its truncation and padding are not applied.</summary>
internal static class TokenizerJsonFile
{
    /// <summary>The tokenizer that <paramref name="path"/> describes.</summary>
    public static TokenizerDefinition Read(string path)
    {
        byte[] json = TokenizerFile.ReadAllBytes(path);
        ReadOnlySpan<byte> byteOrderMark = [0xEF, 0xBB, 0xBF];
        if (json.AsSpan().StartsWith(byteOrderMark)) json = json[byteOrderMark.Length..];
        try
        {
            return Read(path, json);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new TokenizerFileException(path, "the whole file", $"is not valid JSON ({exception.Message}); {ModelFile.GetAgain}", exception);
        }
    }

    private static TokenizerDefinition Read(string path, byte[] json)
    {
        Dictionary<string, JsonElement> sections = [];
        TokenModel? model = null;
        Utf8JsonReader reader = new(json);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject) throw new TokenizerFileException(path, "the whole file", $"must be a JSON object; {ModelFile.GetAgain}");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            if (name == "model") model = new ModelReader(path, json).Read(ref reader);
            else sections[name] = JsonElement.ParseValue(ref reader);
        }
        JsonField Section(string name) => new(path, name, sections.GetValueOrDefault(name));
        if (model is null) throw new TokenizerFileException(path, "model", "is absent");
        return new TokenizerDefinition
        {
            Model = model,
            AddedTokens = AddedTokenReader.ReadAll(Section("added_tokens"), model),
            Normalizer = NormalizerReader.Read(Section("normalizer")),
            PreTokenization = PreTokenizerReader.Read(Section("pre_tokenizer")),
            PostProcessor = PostProcessorReader.Read(Section("post_processor")),
            Decoder = DecoderReader.Read(Section("decoder")),
        };
    }
}
