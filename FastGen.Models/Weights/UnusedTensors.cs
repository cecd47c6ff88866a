using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;

namespace FastGen.Models;

/// <summary>
/// What a checkpoint holds beyond what its model asked for. A buffer that is computed anew is harmless; anything else within a
/// layer means that the layer computes more than was wired, and the model is refused; the rest is reported.
/// </summary>
internal static partial class UnusedTensors
{
    private const int NamesInWarning = 8;

    private static readonly string[] HarmlessEndings =
        [".inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached", ".masked_bias", ".attn.bias", ".attention.bias", ".self_attn.bias", ".self_attention.bias", ".position_ids"];

    /// <summary>Checks what is left after a model was built.</summary>
    /// <exception cref="UnsupportedModelException">A layer has a tensor that nothing uses, or there are more layers than config.json says.</exception>
    public static void Check(WeightLoader loader, ModelConfig config, ILogger? logger)
    {
        string[] unused = [.. loader.Unused.Where(name => !HarmlessEndings.Any(name.EndsWith)).Order(StringComparer.Ordinal)];
        foreach (string name in unused)
        {
            if (!LayerNumber().IsMatch(name)) continue;
            throw new UnsupportedModelException(loader.Checkpoint.Location, $"tensor '{name}'", "present", $"the tensors of a {config.Architecture} of {config.Layers} layers, as config.json describes it");
        }
        if (unused.Length > 0 && logger is not null)
        {
            LogUnused(logger, loader.Checkpoint.Location, unused.Length, string.Join(", ", unused.Take(NamesInWarning)));
        }
    }

    [GeneratedRegex(@"(?:^|\.)(?:layers|h)\.\d+\.", RegexOptions.CultureInvariant)]
    private static partial Regex LayerNumber();

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Folder}: {Count} tensors are not used by this model: {Names}")]
    private static partial void LogUnused(ILogger logger, string folder, int count, string names);
}
