using System.Globalization;
using System.Numerics;
using System.Text.Json;
using System.Text.Json.Nodes;
using FastGen.Models.Jinja;

namespace FastGen.Models;

/// <summary>Turns JSON into the engine's values as Python's <c>json.loads</c> does: a number with a point or an exponent is a float, any other an int.</summary>
internal static class JsonValues
{
    public static object? From(JsonNode? node)
    {
        try
        {
            return Convert(node);
        }
        catch (Exception exception) when (exception is InvalidOperationException or ArgumentException)
        {
            // Nodes look at texts and names only when they are asked for: half a surrogate pair, a name given twice.
            throw TemplateError.Value($"the JSON given cannot be read ({exception.Message})");
        }
    }

    private static object? Convert(JsonNode? node)
    {
        RenderBudget.GuardStack();
        switch (node)
        {
            case null:
                return null;
            case JsonArray array:
                return new PythonList([.. array.Select(Convert)]);
            case JsonObject @object:
                PythonDict dict = new();
                foreach ((string name, JsonNode? value) in @object) dict[name] = Convert(value);
                return dict;
            default:
                return FromScalar((JsonValue)node);
        }
    }

    private static object? FromScalar(JsonValue value) => value.GetValueKind() switch
    {
        JsonValueKind.Null or JsonValueKind.Undefined => null,
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.Number => FromNumber(value.ToJsonString()),
        _ => value.TryGetValue(out string? text) ? text : JsonNode.Parse(value.ToJsonString())!.GetValue<string>(),
    };

    private static object FromNumber(string number)
    {
        if (number.AsSpan().IndexOfAny('.', 'e', 'E') >= 0) return double.Parse(number, NumberStyles.Float, CultureInfo.InvariantCulture);
        if (long.TryParse(number, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long integer)) return integer;
        if (number.Length > PythonNumber.MaxDigits) throw TemplateError.Limit($"A JSON number has more than {PythonNumber.MaxDigits} digits.");
        return PythonNumber.Normalize(BigInteger.Parse(number, CultureInfo.InvariantCulture));
    }
}
