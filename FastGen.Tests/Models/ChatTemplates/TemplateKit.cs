using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using FastGen.Models;
using FastGen.Models.Jinja;

namespace FastGen.Tests;

/// <summary>The kit's folder <c>templates</c>: its files' cases, and how to run one.</summary>
internal static partial class TemplateKit
{
    /// <summary>One test case for each entry of <c>cases</c> in a file of the kit; one null case where the kit is absent.</summary>
    public static IEnumerable<TestCaseData> Cases(string file)
    {
        string? path = ConformanceKit.Root is null ? null : Path.Combine(ConformanceKit.Root, "templates", file);
        if (path is null || !File.Exists(path)) return [new TestCaseData(null, null).SetArgDisplayNames(file)];
        JsonObject root = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        return root["cases"]!.AsArray().Select((item, i) => new TestCaseData(root, item!.AsObject()).SetArgDisplayNames($"{i} {Label(item!.AsObject())}"));
    }

    private static string Label(JsonObject item) => string.Join(' ', new[] { "group", "name", "template", "conversation", "variant" }
        .Select(key => item[key] is JsonValue value && value.TryGetValue(out string? text) && text.Length < 100 ? text : null).Where(text => text is not null));

    public static void RequireKit(JsonObject? item)
    {
        if (item is null) ConformanceKit.Folder("templates");
    }

    /// <summary>What the template gives, or its error as <c>Type: message</c>.</summary>
    public static string Render(string template, IReadOnlyDictionary<string, object?> variables, DateTime now)
    {
        Dictionary<string, object?> context = Globals.Create(new FixedTime(now));
        foreach ((string name, object? value) in variables) context[name] = value;
        try
        {
            return ChatTemplate.Parse(template).Render(context);
        }
        catch (ChatTemplateException error)
        {
            return "ERROR " + (error.Fault == ChatTemplateFault.Rejected ? "TemplateError: " : "") + error.Reason;
        }
    }

    public static Dictionary<string, object?> Variables(JsonObject? context) =>
        (context ?? []).ToDictionary(item => item.Key, item => JavaScriptFunctions.From(item.Value));

    /// <summary>The kit writes errors as <c>Type: message</c> or as Python's <c>ERR Type('message')</c>.</summary>
    public static string? ExpectedError(string? text)
    {
        if (text is null) return null;
        Match match = PythonError().Match(text);
        return match.Success ? $"ERROR {match.Groups[1].Value}: {match.Groups[3].Value}" : null;
    }

    [GeneratedRegex(@"^ERR (\w+)\((['""])(.*)\2\)$")]
    private static partial Regex PythonError();
}

/// <summary>A clock that stands still, in a zone without offset.</summary>
internal sealed class FixedTime(DateTime now) : TimeProvider
{
    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override DateTimeOffset GetUtcNow() => new(now, TimeSpan.Zero);
}
