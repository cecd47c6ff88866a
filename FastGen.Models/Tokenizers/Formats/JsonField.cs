using System.Text;
using System.Text.Json;

namespace FastGen.Models.Tokenizers;

/// <summary>A value in a JSON file that knows its file and path, so that whatever is wrong with it can be named.</summary>
internal readonly record struct JsonField(string File, string Path, JsonElement Value)
{
    /// <summary>True for a value that is neither absent nor null.</summary>
    public bool IsPresent => Value.ValueKind is not (JsonValueKind.Undefined or JsonValueKind.Null);

    /// <summary>The member of an object; absent is undefined.</summary>
    public JsonField this[string name]
    {
        get
        {
            if (Value.ValueKind != JsonValueKind.Object) throw Fault("must be an object");
            Value.TryGetProperty(name, out JsonElement member);
            return new JsonField(File, Path.Length == 0 ? name : $"{Path}.{name}", member);
        }
    }

    /// <summary>The elements of an array.</summary>
    public IEnumerable<JsonField> Elements()
    {
        if (Value.ValueKind != JsonValueKind.Array) throw Fault("must be an array");
        int index = 0;
        foreach (JsonElement element in Value.EnumerateArray()) yield return new JsonField(File, $"{Path}[{index++}]", element);
    }

    /// <summary>The members of an object.</summary>
    public IEnumerable<(string Name, JsonField Field)> Members()
    {
        if (Value.ValueKind != JsonValueKind.Object) throw Fault("must be an object");
        foreach (JsonProperty member in Value.EnumerateObject()) yield return (member.Name, new JsonField(File, $"{Path}.{member.Name}", member.Value));
    }

    /// <summary>A text.</summary>
    public string AsString()
    {
        if (Value.ValueKind != JsonValueKind.String) throw Fault("must be a string");
        try
        {
            return Value.GetString()!;
        }
        catch (InvalidOperationException exception)
        {
            throw Fault("must not hold half a surrogate pair", exception);
        }
    }

    /// <summary>A text, or the default where the value is absent or null.</summary>
    public string AsString(string absent) => IsPresent ? AsString() : absent;

    /// <summary>A truth value, or the default where it is absent or null.</summary>
    public bool AsBoolean(bool absent) => Value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ when !IsPresent => absent,
        _ => throw Fault("must be true or false"),
    };

    /// <summary>A whole number from 0 on.</summary>
    public int AsCount() => Value.ValueKind == JsonValueKind.Number && Value.TryGetInt32(out int value) && value >= 0 ? value : throw Fault("must be a whole number from 0 on");

    /// <summary>A whole number from 0 on, or the default where it is absent or null.</summary>
    public int AsCount(int absent) => IsPresent ? AsCount() : absent;

    /// <summary>One character of the basic plane.</summary>
    public char AsCharacter() => AsString() is [char single] ? single : throw Fault("must be one character");

    /// <summary>One character, beyond the basic plane as well.</summary>
    public Rune AsRune() => AsString().EnumerateRunes().ToArray() is [Rune single] ? single : throw Fault("must be one character");

    /// <summary>An exception about this value.</summary>
    public TokenizerFileException Fault(string problem, Exception? cause = null)
    {
        string value = Value.ValueKind == JsonValueKind.Undefined ? "absent" : Value.GetRawText();
        return new TokenizerFileException(File, Path, $"{problem}; it is {(value.Length <= 100 ? value : value[..100] + "…")}", cause);
    }
}
