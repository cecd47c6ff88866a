using System.Text.Json;
using System.Text.Unicode;

namespace FastGen.Models;

/// <summary>JSON files of a model folder.</summary>
internal static class JsonFile
{
    private static ReadOnlySpan<byte> Utf8Mark => [0xEF, 0xBB, 0xBF];

    /// <summary>Reads a file whose root is an object.</summary>
    /// <exception cref="ModelLoadException">It cannot be read, is not JSON, or its root is no object.</exception>
    public static JsonDocument Parse(string path)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ModelLoadException($"{path}: {ModelFile.Unreadable(path, exception)}.", exception);
        }
        // The parser itself looks at the inside of texts only when they are asked for.
        if (!Utf8.IsValid(bytes)) throw new ModelLoadException($"{path}: is not valid UTF-8; {ModelFile.GetAgain}.");
        Memory<byte> json = bytes.AsMemory(bytes.AsSpan().StartsWith(Utf8Mark) ? Utf8Mark.Length : 0);
        JsonDocument document;
        try
        {
            CheckNames(path, json.Span);
            document = JsonDocument.Parse(json);
        }
        catch (JsonException exception)
        {
            throw new ModelLoadException($"{path}: is not valid JSON ({exception.Message}); {ModelFile.GetAgain}.", exception);
        }
        if (document.RootElement.ValueKind == JsonValueKind.Object) return document;
        string kind = document.RootElement.ValueKind.ToString();
        document.Dispose();
        throw new ModelLoadException($"{path}: the root must be a JSON object, but is {kind}; {ModelFile.GetAgain}.");
    }

    // An escape of half a surrogate pair is JSON, but no name that can be looked up or listed.
    private static void CheckNames(string path, ReadOnlySpan<byte> json)
    {
        Utf8JsonReader reader = new(json);
        while (reader.Read())
        {
            if (reader.TokenType != JsonTokenType.PropertyName || !reader.ValueIsEscaped) continue;
            try
            {
                reader.GetString();
            }
            catch (InvalidOperationException exception)
            {
                throw new ModelLoadException($"{path}: the name of a field ends in half a surrogate pair (byte {reader.TokenStartIndex}); {ModelFile.GetAgain}.", exception);
            }
        }
    }
}
