using System.Text.Json;

namespace FastGen.Models;

/// <summary>
/// Reads and checks the header of a safetensors file: what the format's own reader refuses is refused here too
/// (https://github.com/huggingface/safetensors, "Format").
/// </summary>
internal static class SafetensorsHeader
{
    /// <summary>Bytes of the little-endian length in front of the header.</summary>
    public const int LengthBytes = 8;

    /// <summary>The format's own limit on the header.</summary>
    public const long MaxBytes = 100_000_000;

    private const string Damaged = "the file is damaged or incomplete; get it again";

    /// <summary>Tensors by name.</summary>
    /// <param name="path">The file, for messages.</param>
    /// <param name="json">The header without its length.</param>
    /// <param name="dataBytes">Bytes of the file that follow the header.</param>
    public static Dictionary<string, StoredTensor> Parse(string path, ReadOnlySpan<byte> json, long dataBytes)
    {
        if (json.IsEmpty || json[0] != (byte)'{') throw new ModelLoadException($"{path}: the header does not begin with '{{'; {Damaged}.");
        Dictionary<string, StoredTensor> tensors;
        try
        {
            tensors = ReadTensors(path, json);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException)
        {
            throw new ModelLoadException($"{path}: the header is not a safetensors header ({exception.Message}); {Damaged}.", exception);
        }
        CheckCoverage(path, tensors.Values, LengthBytes + json.Length, dataBytes);
        return tensors;
    }

    private static Dictionary<string, StoredTensor> ReadTensors(string path, ReadOnlySpan<byte> json)
    {
        Dictionary<string, StoredTensor> tensors = new(StringComparer.Ordinal);
        Utf8JsonReader reader = new(json);
        Expect(ref reader, JsonTokenType.StartObject);
        while (NextProperty(ref reader) is { } name)
        {
            if (name == "__metadata__")
            {
                SkipMetadata(ref reader);
                continue;
            }
            StoredTensor tensor = ReadTensor(path, name, ref reader, LengthBytes + json.Length);
            if (!tensors.TryAdd(name, tensor)) throw new ModelLoadException($"{path}: tensor '{name}' is listed twice in the header; {Damaged}.");
        }
        if (reader.Read()) throw new JsonException($"unexpected {reader.TokenType} after the header's object");
        return tensors;
    }

    private static StoredTensor ReadTensor(string path, string name, ref Utf8JsonReader reader, long dataStart)
    {
        string? type = null;
        long[]? shape = null, offsets = null;
        Expect(ref reader, JsonTokenType.StartObject);
        while (NextProperty(ref reader) is { } key)
        {
            bool isRepeated = key switch
            {
                "dtype" => type is not null,
                "shape" => shape is not null,
                "data_offsets" => offsets is not null,
                _ => false,
            };
            if (isRepeated) throw new ModelLoadException($"{path}: tensor '{name}' has the field '{key}' twice in the header; {Damaged}.");
            switch (key)
            {
                case "dtype":
                    Expect(ref reader, JsonTokenType.String);
                    type = reader.GetString();
                    break;
                case "shape":
                    shape = ReadIntegers(path, name, key, ref reader);
                    break;
                case "data_offsets":
                    offsets = ReadIntegers(path, name, key, ref reader);
                    break;
                default:
                    throw new ModelLoadException($"{path}: tensor '{name}' has the unknown field '{key}' in the header; {Damaged}.");
            }
        }
        if (type is null || shape is null || offsets is null) throw new ModelLoadException($"{path}: tensor '{name}' lacks dtype, shape or data_offsets in the header; {Damaged}.");
        if (offsets.Length != 2 || offsets[1] < offsets[0]) throw new ModelLoadException($"{path}: tensor '{name}' has data_offsets [{string.Join(", ", offsets)}], which is not a range; {Damaged}.");
        StoredTensor tensor = new(path, name, type, shape, dataStart + offsets[0], offsets[1] - offsets[0]);
        CheckBytes(tensor);
        return tensor;
    }

    private static long[] ReadIntegers(string path, string name, string key, ref Utf8JsonReader reader)
    {
        List<long> values = [];
        Expect(ref reader, JsonTokenType.StartArray);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long value) || value < 0)
            {
                throw new ModelLoadException($"{path}: tensor '{name}' has a value in {key} that is not a whole number of 0 or more; {Damaged}.");
            }
            values.Add(value);
        }
        return [.. values];
    }

    private static void CheckBytes(StoredTensor tensor)
    {
        if (BitsOf(tensor.TypeName) is not { } bits) return;
        Int128 expected = bits;
        foreach (long size in tensor.Shape)
        {
            expected *= size;
            if (expected > long.MaxValue) throw new ModelLoadException($"{tensor.File}: {tensor} is larger than any file; {Damaged}.");
        }
        if (expected != (Int128)tensor.Bytes * 8)
        {
            throw new ModelLoadException($"{tensor.File}: {tensor} takes {expected / 8} bytes, but its data_offsets span {tensor.Bytes}; {Damaged}.");
        }
    }

    // The format wants the tensors to fill the data without a hole, an overlap or a rest.
    private static void CheckCoverage(string path, IEnumerable<StoredTensor> tensors, long dataStart, long dataBytes)
    {
        long end = dataStart;
        foreach (StoredTensor tensor in tensors.OrderBy(tensor => tensor.Begin).ThenBy(tensor => tensor.Bytes))
        {
            if (tensor.Begin != end)
            {
                string fault = tensor.Begin < end ? "overlaps the one before it" : "leaves a hole before it";
                throw new ModelLoadException($"{path}: {tensor} begins at byte {tensor.Begin - dataStart} of the data and {fault}, which ends at {end - dataStart}; {Damaged}.");
            }
            end = tensor.Begin + tensor.Bytes;
            if (end - dataStart > dataBytes)
            {
                throw new ModelLoadException($"{path}: {tensor} ends at byte {end - dataStart} of the data, but the file has only {dataBytes}; {Damaged}.");
            }
        }
        if (end - dataStart != dataBytes)
        {
            throw new ModelLoadException($"{path}: the file has {dataBytes} bytes of data, but its tensors take {end - dataStart}; {Damaged}.");
        }
    }

    private static int? BitsOf(string type) => type switch
    {
        "F64" or "I64" or "U64" or "C64" => 64,
        "F32" or "I32" or "U32" => 32,
        "F16" or "BF16" or "I16" or "U16" => 16,
        "BOOL" or "I8" or "U8" or "F8_E4M3" or "F8_E5M2" or "F8_E8M0" => 8,
        "F6_E2M3" or "F6_E3M2" => 6,
        "F4" => 4,
        _ => null,
    };

    // Null counts as none, as for the safetensors library.
    private static void SkipMetadata(ref Utf8JsonReader reader)
    {
        if (!reader.Read() || reader.TokenType is not (JsonTokenType.StartObject or JsonTokenType.Null)) throw new JsonException($"expected {JsonTokenType.StartObject}, found {reader.TokenType}");
        if (reader.TokenType == JsonTokenType.Null) return;
        while (NextProperty(ref reader) is not null) Expect(ref reader, JsonTokenType.String);
    }

    private static string? NextProperty(ref Utf8JsonReader reader)
    {
        if (!reader.Read()) throw new JsonException("the header ends too early");
        return reader.TokenType == JsonTokenType.EndObject ? null : reader.GetString();
    }

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType type)
    {
        if (!reader.Read() || reader.TokenType != type) throw new JsonException($"expected {type}, found {reader.TokenType}");
    }
}
