using System.Globalization;
using System.Text;
using FastGen.Compute;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>
/// The table of docs/models.md, made from what the kit's files give. <c>FASTGEN_MODELS_TABLE</c> names a file to write it to;
/// the documentation's was written so.
/// </summary>
public sealed class ModelsTableTests
{
    private sealed record Entry(string Name, ModelConfig Config, DType? Golden);

    [Test]
    public void Table_FromTheKit_HasEveryFamily()
    {
        _ = ConformanceKit.Folder("models");
        List<Entry> entries = [.. Published(), .. Goldens()];
        StringBuilder table = new();
        table.AppendLine("| Architecture | Features seen | Published configurations that load | Checkpoints met against transformers |");
        table.AppendLine("|---|---|---|---|");
        foreach (IGrouping<string, Entry> family in entries.GroupBy(entry => entry.Config.Architecture).OrderBy(group => group.Key, StringComparer.Ordinal))
        {
            string features = Join(family.SelectMany(entry => Features(entry.Config)));
            string configs = Join(family.Where(entry => entry.Golden is null).Select(entry => entry.Name));
            string goldens = Join(family.Where(entry => entry.Golden is not null).Select(entry => $"{entry.Name} ({entry.Golden})"));
            table.AppendLine(CultureInfo.InvariantCulture, $"| {family.Key} | {features} | {configs} | {goldens} |");
        }
        if (Environment.GetEnvironmentVariable("FASTGEN_MODELS_TABLE") is { Length: > 0 } file) File.WriteAllText(file, table.ToString());
        TestContext.Out.Write(table);
        Assert.That(entries.Where(entry => entry.Golden is not null), Is.Not.Empty);
    }

    private static IEnumerable<Entry> Published()
    {
        string root = ConformanceKit.Folder("configs");
        foreach (string file in Directory.GetFiles(root, "*.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            string path = Path.GetRelativePath(root, file).Replace('\\', '/');
            if (path.StartsWith("unsupported/", StringComparison.Ordinal) || path.StartsWith("odd_and_bad", StringComparison.Ordinal) || path.EndsWith("generation_config.json", StringComparison.Ordinal) || path.EndsWith(".index.json", StringComparison.Ordinal)) continue;
            if (TryRead(file) is { } config) yield return new Entry(path.Replace("/config.json", "", StringComparison.Ordinal).Replace(".json", "", StringComparison.Ordinal), config, null);
        }
    }

    private static IEnumerable<Entry> Goldens()
    {
        foreach (string? name in ConformanceKit.Folders("models"))
        {
            string folder = ConformanceKit.Folder("models", name!);
            if (!File.Exists(Path.Combine(folder, "expected.json")) || TryRead(Path.Combine(folder, "config.json")) is not { } config) continue;
            using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(folder);
            yield return new Entry(name!, config, checkpoint.MainType);
        }
    }

    private static ModelConfig? TryRead(string file)
    {
        try
        {
            return ModelConfig.Read(file);
        }
        catch (ModelLoadException)
        {
            return null;
        }
    }

    private static IEnumerable<string> Features(ModelConfig config)
    {
        if (config.KvHeads == 1 && config.Heads > 1) yield return "multi-query";
        else if (config.KvHeads < config.Heads) yield return "grouped-query";
        if (config.Windows.Any(window => window > 0)) yield return config.Windows.All(window => window > 0) ? "sliding window" : "window in some layers";
        if (config.Rotary is { } rotary) yield return rotary.GetType() == typeof(RotaryScaling) ? "rotary" : $"rotary {rotary.GetType().Name.Replace("RotaryScaling", "", StringComparison.Ordinal).ToLowerInvariant()}";
        if (config.Rotary is { } partial && partial.Dimensions < config.HeadDim) yield return "partial rotation";
        if (config.QkvBias) yield return "qkv bias";
        if (config.TieWordEmbeddings) yield return "tied head";
        if (config.HeadDim * config.Heads != config.HiddenSize) yield return "explicit head size";
        if (config is ExpertConfig { Experts: > 0 } experts) yield return experts.SharedColumns > 0 ? "experts with a shared one" : "experts";
        yield return config.Activation.ToString().ToLowerInvariant();
    }

    private static string Join(IEnumerable<string> words) => string.Join(", ", words.Distinct().Order(StringComparer.Ordinal));
}
