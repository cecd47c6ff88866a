using System.Security.Cryptography;
using System.Text.Json;
using FastGen.Compute;

namespace FastGen.Tests;

/// <summary>
/// How far transformers' own 16-bit arithmetic on a GPU lies from expected logits, as eng/gpu/transformers_errors.py recorded it: a measure of how much of a case rounding
/// decides. Goldens are known by their content, so that others of the same name have no record.
/// </summary>
/// <param name="Prompt">For each case the relative error of the logits of the prompt's last positions.</param>
/// <param name="Path">For each case that of the logits after the prompt and after the first golden tokens.</param>
internal sealed record TransformersErrors(double[] Prompt, double[] Path)
{
    private static readonly Lazy<JsonElement> Recorded = new(Read);

    /// <summary>What was recorded for the goldens of a model folder in arithmetic of that type; null where nothing was.</summary>
    public static TransformersErrors? Of(string folder, DType type)
    {
        string goldens = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(System.IO.Path.Combine(folder, "expected_logits.safetensors"))));
        return Recorded.Value.TryGetProperty(goldens, out JsonElement checkpoint) && checkpoint.TryGetProperty(type.ToString(), out JsonElement errors)
            ? new TransformersErrors(Numbers(errors, "prompt"), Numbers(errors, "path"))
            : null;
    }

    private static double[] Numbers(JsonElement errors, string name) => [.. errors.GetProperty(name).EnumerateArray().Select(error => error.GetDouble())];

    private static JsonElement Read()
    {
        using Stream stream = typeof(TransformersErrors).Assembly.GetManifestResourceStream("transformers_errors.json")!;
        using JsonDocument document = JsonDocument.Parse(stream);
        return document.RootElement.GetProperty("relative_errors").Clone();
    }
}
