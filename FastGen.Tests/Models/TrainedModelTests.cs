using System.Text.Json;
using FastGen.Compute;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>
/// Folders with goldens.json, which hold a really trained model, and the folders beside them that hold the same model in another form
/// (their names begin alike): text, logits, likelihoods and, layer by layer, the residual stream.
/// </summary>
[TestFixtureSource(nameof(Fixtures))]
public sealed class TrainedModelTests(string? folder, TestBackend backend)
{
    private readonly List<JsonElement> _cases = [];
    private string _path = "";
    private JsonDocument _goldens = null!;
    private ModelHarness _harness = null!;
    private double _tolerance;

    public static IEnumerable<TestFixtureData> Fixtures() =>
        from name in ConformanceKit.Folders("models")
        where name is null || GoldensOf(name) is not null
        from backend in TestBackends.All
        select new TestFixtureData(name, backend).SetArgDisplayNames(name ?? "no kit", backend.Name);

    [OneTimeSetUp]
    public void Load()
    {
        _path = ConformanceKit.Folder("models", folder ?? "");
        _goldens = JsonDocument.Parse(File.ReadAllBytes(GoldensOf(folder!)!));
        _harness = Harness(ModelConfig.Read(Path.Combine(_path, "config.json")));
        DType type = _harness.Model.Shape.WeightType;
        _tolerance = _harness.Model.Backend.PrecisionFor(type).Activation == DType.F32 ? 2e-4 : 0.2;
        if (_goldens.RootElement.TryGetProperty($"weights_{type}", out JsonElement cases)) _cases.AddRange(cases.EnumerateArray());
    }

    [OneTimeTearDown]
    public void Free()
    {
        _harness?.Dispose();
        _goldens?.Dispose();
    }

    [Test]
    public void Forward_GreedyTokens_AreTheGoldens() => Assert.Multiple(() =>
    {
        Assert.That(_cases, Is.Not.Empty);
        foreach (JsonElement golden in _cases)
        {
            int[] expected = ModelGoldens.Integers(golden, "greedy_ids");
            Assert.That(_harness.Greedy(ModelGoldens.Integers(golden, "input_ids"), expected.Length), Is.EqualTo(expected));
        }
    });

    [Test]
    public void Forward_LongStory_IsTheGolden()
    {
        if (_harness.Model.Shape.WeightType != DType.F32) Assert.Ignore("The long story is that of the F32 weights.");
        JsonElement golden = _goldens.RootElement.GetProperty("greedy_from_bos");
        int[] expected = ModelGoldens.Integers(golden, "output_ids");
        Assert.That(_harness.Greedy(ModelGoldens.Integers(golden, "input_ids"), expected.Length), Is.EqualTo(expected));
    }

    [Test]
    public void Forward_Logits_AreTheGoldens() => Assert.Multiple(() =>
    {
        foreach (JsonElement golden in _cases)
        {
            int[] prompt = ModelGoldens.Integers(golden, "input_ids");
            float[][] logits = _harness.Prompt(prompt, prompt.Length);
            Assert.That(logits[^1], Is.EqualTo(ModelGoldens.Floats(golden.GetProperty("last_logits"))).Within(_tolerance));
            Assert.That(NegativeLogLikelihood(prompt, logits), Is.EqualTo(golden.GetProperty("prompt_nll_sum").GetDouble()).Within(_tolerance * prompt.Length));
            if (!golden.TryGetProperty("all_logits", out JsonElement all)) continue;
            foreach ((float[] actual, JsonElement expected) in logits.Zip(all.EnumerateArray())) Assert.That(actual, Is.EqualTo(ModelGoldens.Floats(expected)).Within(_tolerance));
        }
    });

    [Test]
    public void Forward_ResidualStreamAfterEveryLayer_IsTheGolden()
    {
        JsonElement? golden = _cases.Cast<JsonElement?>().FirstOrDefault(item => item!.Value.TryGetProperty("hidden_after_each_layer_then_final_norm", out _));
        if (golden is not { } item) return;
        int[] prompt = ModelGoldens.Integers(item, "input_ids");
        // [position][layer, then the final norm][column]
        JsonElement[] positions = [.. item.GetProperty("hidden_after_each_layer_then_final_norm").EnumerateArray()];
        ModelConfig config = ModelConfig.Read(Path.Combine(_path, "config.json"));
        Assert.Multiple(() =>
        {
            for (int layers = 1; layers <= config.Layers; layers++)
            {
                using ModelHarness harness = Harness(config with { Layers = layers });
                harness.Prompt(prompt, logitRows: 1);
                float[][] hidden = harness.Hidden();
                for (int position = 0; position < prompt.Length; position++)
                {
                    Assert.That(hidden[position], Is.EqualTo(ModelGoldens.Floats(positions[position][layers - 1])).Within(_tolerance), $"layer {layers}, position {position}");
                }
            }
        });
    }

    private ModelHarness Harness(ModelConfig config)
    {
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(_path);
        return new ModelHarness(ModelLoader.Load(config, checkpoint, backend.Create(), new ModelLoadOptions { LeavesLayersOut = true }), contextBlocks: 32);
    }

    private static double NegativeLogLikelihood(int[] prompt, float[][] logits)
    {
        double sum = 0;
        for (int i = 1; i < prompt.Length; i++)
        {
            float[] row = logits[i - 1];
            double largest = row.Max();
            sum += largest + Math.Log(row.Sum(value => Math.Exp(value - largest))) - row[prompt[i]];
        }
        return sum;
    }

    // Its own goldens.json, or that of the folder whose name begins its own.
    private static string? GoldensOf(string name)
    {
        string root = Path.Combine(ConformanceKit.Root!, "models");
        return Directory.EnumerateDirectories(root)
            .Where(other => name.StartsWith(Path.GetFileName(other), StringComparison.Ordinal) && File.Exists(Path.Combine(other, "goldens.json")))
            .Select(other => Path.Combine(other, "goldens.json")).FirstOrDefault();
    }
}
