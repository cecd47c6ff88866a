using System.Text.Json;

namespace FastGen.Models;

/// <summary>model.safetensors.index.json: which shard holds which tensor.</summary>
/// <param name="Path">The file.</param>
/// <param name="Tensors">File name by tensor name.</param>
internal sealed record SafetensorsIndex(string Path, IReadOnlyDictionary<string, string> Tensors)
{
    /// <summary>The name that transformers gives it.</summary>
    public const string FileName = "model.safetensors.index.json";

    /// <summary>File names, each once.</summary>
    public IEnumerable<string> Shards => Tensors.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal);

    /// <summary>Reads an index.</summary>
    public static SafetensorsIndex Read(string path)
    {
        using JsonDocument document = JsonFile.Parse(path);
        if (!document.RootElement.TryGetProperty("weight_map", out JsonElement map) || map.ValueKind != JsonValueKind.Object)
        {
            throw new ModelLoadException($"{path}: has no object 'weight_map'; it is no safetensors index.");
        }
        Dictionary<string, string> tensors = new(StringComparer.Ordinal);
        foreach (JsonProperty entry in map.EnumerateObject())
        {
            string? shard = TextOf(entry.Value);
            // A name with a folder or a drive in it could lead out of the model's folder.
            if (string.IsNullOrEmpty(shard) || shard.AsSpan().ContainsAny("/\\:\0") || shard is "." or "..")
            {
                throw new ModelLoadException($"{path}: weight_map['{entry.Name}'] is {entry.Value.GetRawText()}; it must be the name of a file in the same folder.");
            }
            tensors[entry.Name] = shard;
        }
        if (tensors.Count == 0) throw new ModelLoadException($"{path}: 'weight_map' is empty; it is no safetensors index.");
        return new SafetensorsIndex(path, tensors);
    }

    // Null where it is none, or none that .NET can hold.
    private static string? TextOf(JsonElement value)
    {
        try
        {
            return value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }
}
