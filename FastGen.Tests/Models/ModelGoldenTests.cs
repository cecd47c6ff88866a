using FastGen.Compute;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Every model folder of the kit, on every backend, against Hugging Face transformers and against itself.</summary>
[TestFixtureSource(nameof(Fixtures))]
[Parallelizable(ParallelScope.Self)]
public sealed class ModelGoldenTests(string? folder, TestBackend backend)
{
    // Prompts up to this length are split at every point, longer ones at a few.
    private const int SplitEverywhere = 64;

    private IReadOnlyList<GoldenCase> _cases = [];
    private ModelHarness _harness = null!;

    public static IEnumerable<TestFixtureData> Fixtures() =>
        from name in ConformanceKit.Folders("models")
        from backend in TestBackends.All
        select new TestFixtureData(name, backend).SetArgDisplayNames(name ?? "no kit", backend.Name);

    [OneTimeSetUp]
    public void Load()
    {
        string path = ConformanceKit.Folder("models", folder ?? "");
        if (!File.Exists(Path.Combine(path, "expected.json"))) Assert.Ignore("The folder has no expected.json; other tests cover it.");
        IBackend device = backend.Create();
        try
        {
            _harness = new ModelHarness(ModelLoader.Load(path, device).Model);
        }
        catch (UnsupportedModelException exception) when (exception.Field is "architectures" or "model_type")
        {
            device.Dispose();
            Assert.Ignore(exception.Message);
        }
        _cases = ModelGoldens.Read(path);
    }

    [OneTimeTearDown]
    public void Free() => _harness?.Dispose();

    private bool ComputesInF32 => _harness.Model.Backend.PrecisionFor(_harness.Model.Shape.WeightType) == new Precision(DType.F32, DType.F32, DType.F32);

    [Test]
    public void Forward_WholePrompt_GivesTheLogitsOfTransformers() => Assert.Multiple(() =>
    {
        foreach (GoldenCase golden in _cases)
        {
            float[][] logits = _harness.Prompt(golden.Prompt, golden.Logits.Length);
            (float[] actual, float[] expected) = (logits.SelectMany(row => row).ToArray(), golden.Logits.SelectMany(row => row).ToArray());
            if (ComputesInF32) Assert.That(LargestError(actual, expected), Is.LessThan(2e-3 * expected.Max(MathF.Abs)), $"prompt of {golden.Prompt.Length}");
            else Assert.That(RelativeError(actual, expected), Is.LessThan(2e-2), $"prompt of {golden.Prompt.Length}");
        }
    });

    [Test]
    public void Forward_GreedyTokens_AreThoseOfTransformers() => Assert.Multiple(() =>
    {
        if (!ComputesInF32) Assert.Ignore("Greedy tokens are exact for F32 arithmetic only.");
        foreach (GoldenCase golden in _cases)
        {
            Assert.That(_harness.Greedy(golden.Prompt, golden.Greedy.Length), Is.EqualTo(golden.Greedy), $"prompt of {golden.Prompt.Length}");
        }
    });

    [Test]
    public void Forward_PromptInTwoChunks_GivesTheSameBits() => Assert.Multiple(() =>
    {
        foreach (GoldenCase golden in _cases)
        {
            int length = golden.Prompt.Length;
            float[][] whole = _harness.Prompt(golden.Prompt, 8);
            foreach (int first in length <= SplitEverywhere ? Enumerable.Range(1, length - 1) : [1, 15, 16, length / 2, length - 1])
            {
                Assert.That(_harness.Prompt(golden.Prompt, 8, first, length - first), Is.EqualTo(whole), $"{length} tokens as {first} + {length - first}");
            }
        }
    });

    [Test]
    public void Forward_AmongOthers_GivesTheSameBitsAsAlone()
    {
        float[][][] alone = [.. _cases.Select(golden => Trace(golden, _harness))];
        ModelHarness.Sequence[] sequences = [.. _cases.Select(golden => _harness.Start(golden.Prompt.Length))];
        List<float[]>[] together = [.. _cases.Select(_ => new List<float[]>())];
        // The short prompts start first, so that decodes and prompt chunks of different sequences share steps.
        int[] done = new int[_cases.Count];
        for (int step = 0; together.Any(rows => rows.Count < TraceLength); step++)
        {
            List<(int Case, ModelHarness.Work Work)> work = [];
            for (int i = 0; i < _cases.Count; i++)
            {
                if (together[i].Count == TraceLength || step < i) continue;
                int[] tokens = done[i] < _cases[i].Prompt.Length ? _cases[i].Prompt[done[i]..Math.Min(done[i] + 20, _cases[i].Prompt.Length)] : [_cases[i].Greedy[together[i].Count - 1]];
                done[i] += tokens.Length;
                work.Add((i, new ModelHarness.Work(sequences[i], tokens, done[i] >= _cases[i].Prompt.Length ? 1 : 0)));
            }
            float[][] logits = _harness.Step([.. work.Select(item => item.Work)]);
            int row = 0;
            foreach ((int index, ModelHarness.Work item) in work)
            {
                if (item.LogitRows > 0) together[index].Add(logits[row++]);
            }
        }
        foreach (ModelHarness.Sequence sequence in sequences) _harness.Finish(sequence);
        Assert.That(together.Select(rows => rows.ToArray()), Is.EqualTo(alone));
    }

    private const int TraceLength = 12;

    // Logits after the prompt and after each of the first golden tokens.
    private static float[][] Trace(GoldenCase golden, ModelHarness harness)
    {
        ModelHarness.Sequence sequence = harness.Start(golden.Prompt.Length);
        List<float[]> rows = [harness.Step(new ModelHarness.Work(sequence, golden.Prompt, 1))[0]];
        for (int i = 0; i < TraceLength - 1; i++) rows.Add(harness.Step(new ModelHarness.Work(sequence, [golden.Greedy[i]], 1))[0]);
        harness.Finish(sequence);
        return [.. rows];
    }

    private static double LargestError(float[] actual, float[] expected) => actual.Zip(expected, (a, e) => Math.Abs((double)a - e)).Max();

    private static double RelativeError(float[] actual, float[] expected) =>
        Math.Sqrt(actual.Zip(expected, (a, e) => ((double)a - e) * ((double)a - e)).Sum() / expected.Sum(e => (double)e * e));
}
