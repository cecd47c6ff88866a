using System.Runtime.InteropServices;
using System.Text.Json;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>A prompt with what Hugging Face transformers gave for it.</summary>
/// <param name="Prompt">Token ids.</param>
/// <param name="Greedy">The ids that follow.</param>
/// <param name="Logits">Of the last positions of the prompt.</param>
internal sealed record GoldenCase(int[] Prompt, int[] Greedy, float[][] Logits);

/// <summary>The goldens of a model folder of the kit.</summary>
internal static class ModelGoldens
{
    /// <summary>The cases of a folder that has expected.json.</summary>
    public static IReadOnlyList<GoldenCase> Read(string folder)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "expected.json")));
        using SafetensorsFile logits = SafetensorsFile.Open(Path.Combine(folder, "expected_logits.safetensors"));
        return
        [
            .. document.RootElement.GetProperty("cases").EnumerateArray().Select((item, index) =>
                new GoldenCase(Integers(item, "prompt"), Integers(item, "greedy"), ReadRows(logits, $"logits_{index}"))),
        ];
    }

    public static int[] Integers(JsonElement item, string name) => [.. item.GetProperty(name).EnumerateArray().Select(id => id.GetInt32())];

    public static float[] Floats(JsonElement array) => [.. array.EnumerateArray().Select(value => value.GetSingle())];

    private static float[][] ReadRows(SafetensorsFile file, string name)
    {
        StoredTensor tensor = file.Tensors[name];
        float[] values = new float[tensor.Bytes / sizeof(float)];
        file.Read(tensor, 0, MemoryMarshal.AsBytes(values.AsSpan()));
        return [.. values.Chunk((int)tensor.Shape[1])];
    }
}
