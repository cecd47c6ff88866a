using System.Collections.Concurrent;
using System.Text.Json;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Reads the tokenizer folders of the conformance kit.</summary>
internal static class TokenizerKit
{
    private static readonly ConcurrentDictionary<string, Lazy<HuggingFaceTokenizer>> Loaded = new(StringComparer.Ordinal);

    /// <summary>The folders with tokenizers, as <c>trained/NAME</c> and <c>published/NAME</c>; a single null where the kit is absent.</summary>
    public static IEnumerable<string?> Folders()
    {
        if (ConformanceKit.Root is null) return [null];
        return new[] { "trained", "published" }
            .SelectMany(group => ConformanceKit.Folders("tokenizers", group).Select(name => $"{group}/{name}"))
            .Where(folder => File.Exists(Path.Combine(ConformanceKit.Root, "tokenizers", folder, "expected.json")) || File.Exists(Path.Combine(ConformanceKit.Root, "tokenizers", folder, "goldens.json")));
    }

    /// <summary>The path of a folder; skips the running test where the kit is absent.</summary>
    public static string PathOf(string? folder) => ConformanceKit.Folder(["tokenizers", .. (folder ?? "trained").Split('/')]);

    /// <summary>The folder's <c>tokenizer.json</c>, published or derived; null where it has none.</summary>
    public static string? JsonFile(string path) => Directory.GetFiles(path, "tokenizer*.json")
        .Where(file => !Path.GetFileName(file).StartsWith("tokenizer_config", StringComparison.Ordinal))
        .Order(StringComparer.Ordinal).FirstOrDefault();

    /// <summary>The tokenizer of a folder, from its <c>tokenizer.json</c> if it has one.</summary>
    public static HuggingFaceTokenizer Load(string path) => Loaded.GetOrAdd(path, static path => new Lazy<HuggingFaceTokenizer>(
        () => JsonFile(path) is { } json ? TokenizerLoader.LoadFile(json) : TokenizerLoader.Load(path))).Value;

    /// <summary>The cases of a file of the kit; none where the folder lacks it.</summary>
    public static IReadOnlyList<JsonElement> Cases(string path, string file)
    {
        string full = Path.Combine(path, file);
        if (!File.Exists(full)) return [];
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(full));
        return [.. document.RootElement.GetProperty("cases").EnumerateArray().Select(element => element.Clone())];
    }

    /// <summary>An array of ids.</summary>
    public static int[] Ids(JsonElement element, string name) => [.. element.GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];
}
