using System.Globalization;
using System.Text.Json;

namespace FastGen.Models;

/// <summary>
/// An object of a configuration file, read by field. A field may have several names (families and generations differ); the
/// first that is present and not null counts. Every fault names the file, the field and the value.
/// </summary>
/// <param name="File">The file, for messages.</param>
/// <param name="Element">The object.</param>
/// <param name="Path">Where the object stands in the file, with a trailing dot; empty for the root.</param>
internal readonly record struct ConfigReader(string File, JsonElement Element, string Path = "")
{
    /// <summary>Sizes above this are taken for damage.</summary>
    private const int LargestSize = 1 << 28;

    /// <summary>True where the object has no field.</summary>
    public bool IsEmpty => !Element.EnumerateObject().Any();

    /// <summary>True if one of the fields is present and not null.</summary>
    public bool Has(params ReadOnlySpan<string> names) => TryFind(names, out _, out _);

    /// <summary>True if the field is present and null.</summary>
    public bool IsNull(string name) => Element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Null;

    /// <summary>A size or count that must be there, 1 or more.</summary>
    public int Size(params ReadOnlySpan<string> names) => SizeOrNull(names) ?? throw Missing(names[0]);

    /// <summary>A size or count, 1 or more; null where absent.</summary>
    public int? SizeOrNull(params ReadOnlySpan<string> names)
    {
        if (!TryFind(names, out string name, out JsonElement value)) return null;
        if (!TryWhole(value, out long number)) throw Wrong(name, value, "a whole number");
        if (number is < 1 or > LargestSize) throw Wrong(name, value, $"from 1 to {LargestSize}");
        return (int)number;
    }

    /// <summary>A count that may be 0; null where absent.</summary>
    public int? CountOrNull(params ReadOnlySpan<string> names)
    {
        if (!TryFind(names, out string name, out JsonElement value)) return null;
        if (!TryWhole(value, out long number) || number is < 0 or > LargestSize) throw Wrong(name, value, $"a whole number from 0 to {LargestSize}");
        return (int)number;
    }

    /// <summary>A finite number above 0; null where absent.</summary>
    public double? PositiveOrNull(params ReadOnlySpan<string> names)
    {
        if (!TryFind(names, out string name, out JsonElement value)) return null;
        double number = value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double read) ? read : throw Wrong(name, value, "a number");
        if (!double.IsFinite(number) || number <= 0) throw Wrong(name, value, "a finite number above 0");
        return number;
    }

    /// <summary>A finite number above 0 that must be there.</summary>
    public double Positive(params ReadOnlySpan<string> names) => PositiveOrNull(names) ?? throw Missing(names[0]);

    /// <summary>A number of 0 or more that single precision can hold; null where absent.</summary>
    public float? FloatOrNull(string name)
    {
        if (!TryFind([name], out _, out JsonElement value)) return null;
        double number = value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double read) ? read : throw Wrong(name, value, "a number");
        float single = (float)number;
        return float.IsFinite(single) && single >= 0 ? single : throw Wrong(name, value, "a number of 0 or more in single precision");
    }

    /// <summary>True or false, with a value where absent.</summary>
    public bool Flag(string name, bool fallback) => TryFind([name], out _, out JsonElement value)
        ? value.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw Wrong(name, value, "true or false"),
        }
        : fallback;

    /// <summary>A text; null where absent.</summary>
    public string? TextOrNull(params ReadOnlySpan<string> names)
    {
        if (!TryFind(names, out string name, out JsonElement value)) return null;
        return Text(name, value, "a text");
    }

    /// <summary>A list of texts; null where absent.</summary>
    public IReadOnlyList<string>? TextsOrNull(string name)
    {
        if (!TryFind([name], out _, out JsonElement value)) return null;
        if (value.ValueKind != JsonValueKind.Array) throw Wrong(name, value, "a list of texts");
        List<string> texts = [];
        foreach (JsonElement item in value.EnumerateArray()) texts.Add(Text(name, item, "a list of texts"));
        return texts;
    }

    // An escape of half a surrogate pair is a JSON text, but no .NET one.
    private string Text(string name, JsonElement value, string wanted)
    {
        try
        {
            return value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Wrong(name, value, wanted);
        }
        catch (InvalidOperationException)
        {
            throw Wrong(name, value, $"{wanted} without half surrogates");
        }
    }

    /// <summary>A list of finite numbers above 0 that must be there, of the given length.</summary>
    public IReadOnlyList<double> Positives(string name, int length)
    {
        if (!TryFind([name], out _, out JsonElement value)) throw Missing(name);
        double[] numbers = value.ValueKind == JsonValueKind.Array
            ? [.. value.EnumerateArray().Select(item => item.ValueKind == JsonValueKind.Number && item.TryGetDouble(out double number) ? number : double.NaN)]
            : throw Wrong(name, value, "a list of numbers");
        if (numbers.Any(number => !double.IsFinite(number) || number <= 0)) throw Wrong(name, value, "a list of finite numbers above 0");
        return numbers.Length == length ? numbers : throw Wrong(name, value, string.Create(CultureInfo.InvariantCulture, $"a list of {length} numbers, half the rotary dimensions"));
    }

    /// <summary>One token id or a list of them; negative ids, which older files use for "none", are left out. Null where absent.</summary>
    public IReadOnlyList<int>? TokenIdsOrNull(string name)
    {
        if (!TryFind([name], out _, out JsonElement value)) return null;
        List<int> ids = [];
        foreach (JsonElement item in value.ValueKind == JsonValueKind.Array ? value.EnumerateArray().ToArray() : [value])
        {
            if (!TryWhole(item, out long id) || id > int.MaxValue) throw Wrong(name, value, "a token id or a list of token ids");
            if (id >= 0 && !ids.Contains((int)id)) ids.Add((int)id);
        }
        return ids;
    }

    /// <summary>One token id; null where absent or negative.</summary>
    public int? TokenIdOrNull(string name) => TokenIdsOrNull(name) is [int id, ..] ? id : null;

    /// <summary>A list of layer numbers; empty where absent.</summary>
    public IReadOnlyList<int> LayersOrEmpty(string name)
    {
        if (!TryFind([name], out _, out JsonElement value)) return [];
        if (value.ValueKind != JsonValueKind.Array) throw Wrong(name, value, "a list of layer numbers");
        List<int> layers = [];
        foreach (JsonElement item in value.EnumerateArray())
        {
            if (!TryWhole(item, out long layer) || layer is < 0 or > LargestSize) throw Wrong(name, value, "a list of layer numbers");
            layers.Add((int)layer);
        }
        return layers;
    }

    /// <summary>A nested object; null where absent.</summary>
    public ConfigReader? ObjectOrNull(params ReadOnlySpan<string> names)
    {
        if (!TryFind(names, out string name, out JsonElement value)) return null;
        return value.ValueKind == JsonValueKind.Object ? new ConfigReader(File, value, $"{Path}{name}.") : throw Wrong(name, value, "an object");
    }

    /// <summary>True if the field is a text.</summary>
    public bool IsText(string name) => Element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String;

    /// <summary>True if the field asks for something: it is neither absent, null, false, empty nor <paramref name="neutral"/>.</summary>
    public bool Asks(string name, double neutral) => TryFind([name], out _, out JsonElement value) && value.ValueKind switch
    {
        JsonValueKind.False => false,
        JsonValueKind.Number => !value.TryGetDouble(out double number) || number != neutral,
        JsonValueKind.Array => value.GetArrayLength() > 0,
        JsonValueKind.Object => value.EnumerateObject().Any(),
        _ => true,
    };

    /// <summary>The field as the file has it, shortened; for messages.</summary>
    public string RawValue(string name) => Element.TryGetProperty(name, out JsonElement value) ? Shorten(value) : "absent";

    /// <summary>Refuses the model unless the flag is absent or has the supported value.</summary>
    public void RequireFlag(string name, bool supported)
    {
        if (Flag(name, supported) != supported) throw Unsupported(name, supported ? "true" : "false");
    }

    /// <summary>Refuses the model where the field is present and neither null, false nor 0: the arithmetic that it asks for does not exist here.</summary>
    public void RequireAbsent(string name)
    {
        if (Asks(name, neutral: 0)) throw Unsupported(name, "models without it");
    }

    /// <summary>The exception for a field whose value is not supported.</summary>
    public UnsupportedModelException Unsupported(string name, string supported)
    {
        return new UnsupportedModelException(File, Path + name, RawValue(name), supported);
    }

    /// <summary>The exception for a field that must be there.</summary>
    public ModelLoadException Missing(string name) => new($"{File}: the field {Path}{name} is missing; add it, or get the model's own file again.");

    /// <summary>The exception for a field with an impossible value.</summary>
    public ModelLoadException Wrong(string name, string expected) =>
        Element.TryGetProperty(name, out JsonElement element) ? Wrong(name, element, expected) : Missing(name);

    private ModelLoadException Wrong(string name, JsonElement value, string expected) => new($"{File}: {Path}{name} is {Shorten(value)}, but must be {expected}.");

    private bool TryFind(ReadOnlySpan<string> names, out string name, out JsonElement value)
    {
        foreach (string candidate in names)
        {
            if (!Element.TryGetProperty(candidate, out value) || value.ValueKind == JsonValueKind.Null) continue;
            name = candidate;
            return true;
        }
        (name, value) = ("", default);
        return false;
    }

    // 4096.0 is a whole number in JSON as it is in Python's comparison.
    private static bool TryWhole(JsonElement value, out long number)
    {
        number = 0;
        if (value.ValueKind != JsonValueKind.Number) return false;
        if (value.TryGetInt64(out number)) return true;
        if (!value.TryGetDouble(out double real) || real != Math.Floor(real) || Math.Abs(real) > 1e15) return false;
        number = (long)real;
        return true;
    }

    private static string Shorten(JsonElement value)
    {
        string text = value.GetRawText();
        return text.Length <= 80 ? text : text[..77] + "...";
    }
}
