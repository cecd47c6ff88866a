using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FastGen.Models;
using FastGen.Models.Jinja;

namespace FastGen.Tests;

/// <summary>Context values of the kit. It writes functions as JavaScript in <c>__function__</c>; the forms it uses are understood here.</summary>
internal static partial class JavaScriptFunctions
{
    public static object? From(JsonNode? node)
    {
        if (node is not JsonObject @object) return node is JsonArray array ? new PythonList([.. array.Select(From)]) : JsonValues.From(node);
        if (@object["__function__"] is JsonValue source) return Function(source.GetValue<string>());
        PythonDict dict = new();
        foreach ((string name, JsonNode? value) in @object) dict[name] = From(value);
        return dict;
    }

    private static NativeFunction Function(string source)
    {
        if (JoinBody().Match(source) is { Success: true } join)
        {
            return new NativeFunction("function", (interpreter, arguments) => string.Join(join.Groups[1].Value, arguments.Positional.Select(item => PythonText.Str(item, interpreter.Budget))));
        }
        return source switch
        {
            "(x, y) => x + y" => new NativeFunction("function", (interpreter, arguments) => PythonOperators.Apply(BinaryOperator.Add, arguments.Positional[0], arguments.Positional[1], interpreter.Budget)),
            "(...args) => args.length" => new NativeFunction("function", (_, arguments) => (long)arguments.Positional.Count),
            "() => {}" => new NativeFunction("function", (_, _) => null),
            _ => throw new AssertionException($"The kit has a function of a form unknown here: {source}"),
        };
    }

    [GeneratedRegex(@"^\(\.\.\.args\) => args\.join\(""(.*)""\)$")]
    private static partial Regex JoinBody();
}
