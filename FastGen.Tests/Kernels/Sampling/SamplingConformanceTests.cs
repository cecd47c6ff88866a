using System.Text.Json;
using FastGen.Compute;
using FastGen.Kernels;
using FastGen.Kernels.Reference;

namespace FastGen.Tests.Kernels;

public sealed class SamplingConformanceTests
{
    private const float Tolerance = 1e-6f;

    [Test]
    public void ReferenceSampler_CasesOfKit_LeavesTheirProbabilities() => ForEachCase((logits, sampling) => ReferenceSampler.Probabilities(logits, sampling));

    [Test]
    public void Sampler_CasesOfKit_LeavesTheirProbabilities() => ForEachCase((logits, sampling) => new Sampler(logits.Length).Probabilities(logits, sampling));

    private static void ForEachCase(Action<float[], SlotSampling> sampler)
    {
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(ConformanceKit.Folder("sampling"), "expected.json")));
        Assert.Multiple(() =>
        {
            foreach (JsonElement sample in document.RootElement.GetProperty("cases").EnumerateArray())
            {
                SlotSampling sampling = Sampling(sample.GetProperty("params"));
                float[] values = Floats(sample.GetProperty("logits")), expected = Floats(sample.GetProperty("probabilities"));
                PenaltyCounts counts = new(values.Length, values.Length);
                foreach (JsonElement token in sample.GetProperty("previous_tokens").EnumerateArray()) counts.Count(token.GetInt32(), isOutput: false);
                counts.Apply(values, sampling);
                sampler(values, sampling);
                string name = sample.GetProperty("params").ToString();
                Assert.That(values.Select(value => value > 0), Is.EqualTo(expected.Select(value => value > 0)), name);
                Assert.That(values, Is.EqualTo(expected).Within(Tolerance), name);
            }
        });
    }

    private static SlotSampling Sampling(JsonElement parameters)
    {
        float Value(string name, float otherwise) => parameters.TryGetProperty(name, out JsonElement value) ? value.GetSingle() : otherwise;
        return new SlotSampling
        {
            Temperature = Value("temperature", 1),
            TopK = (int)Value("top_k", 0),
            TopP = Value("top_p", 1),
            MinP = Value("min_p", 0),
            RepetitionPenalty = Value("repetition_penalty", 1),
        };
    }

    private static float[] Floats(JsonElement array) => [.. array.EnumerateArray().Select(value => value.GetSingle())];
}
