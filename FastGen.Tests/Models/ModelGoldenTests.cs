using FastGen.Compute;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Every model folder of the kit that has expected.json, on every backend, against Hugging Face transformers and against itself.</summary>
[TestFixtureSource(nameof(Fixtures))]
[Parallelizable(ParallelScope.Self)]
public sealed class ModelGoldenTests(string? folder, TestBackend backend)
{
    // Prompts up to this length are split at every point, longer ones at a few.
    private const int SplitEverywhere = 48;

    private static readonly int[] SampleSplits = [1, 16, 32];

    // Steps whose logits are compared where sequences share steps.
    private readonly int _traceLength = backend.IsSlow ? 5 : 12;

    private IReadOnlyList<GoldenCase> _cases = [];
    private ModelHarness _harness = null!;
    private ModelHarness? _golden;
    private string _path = "";

    public static IEnumerable<TestFixtureData> Fixtures() =>
        from name in ConformanceKit.Folders("models")
        where name is null || File.Exists(Path.Combine(ConformanceKit.Root!, "models", name, "expected.json"))
        from backend in (IEnumerable<TestBackend>)[.. TestBackends.All, TestBackends.Cuda, TestBackends.CudaDeterministic]
        select Fixture(name, backend);

    private static TestFixtureData Fixture(string? name, TestBackend backend)
    {
        TestFixtureData fixture = new TestFixtureData(name, backend).SetArgDisplayNames(name ?? "no kit", backend.Name);
        if (backend == TestBackends.Cuda || backend == TestBackends.CudaDeterministic) fixture.Properties.Add("Category", "Cuda");
        return fixture;
    }

    [OneTimeSetUp]
    public void Load()
    {
        _path = ConformanceKit.Folder("models", folder ?? "");
        try
        {
            _harness = Harness(ModelConfig.Read(Path.Combine(_path, "config.json")));
        }
        catch (UnsupportedModelException exception) when (exception.Field is "architectures" or "model_type")
        {
            Assert.Ignore(exception.Message);
        }
        _cases = ModelGoldens.Read(_path);
    }

    [OneTimeTearDown]
    public void Free()
    {
        if (_golden != _harness) _golden?.Dispose();
        _harness?.Dispose();
    }

    [Test]
    public void Forward_WholePrompt_GivesTheLogitsOfTransformers()
    {
        string misses = FindConvention();
        Assert.That(_golden, Is.Not.Null, misses);
    }

    [Test]
    public void Forward_GreedyTokens_AreThoseOfTransformers()
    {
        if (!ComputesInF32) Assert.Ignore("Greedy tokens are exact for F32 arithmetic only.");
        string misses = FindConvention();
        Assert.That(_golden, Is.Not.Null, misses);
        Assert.Multiple(() =>
        {
            foreach (GoldenCase golden in _cases)
            {
                Assert.That(_golden!.Greedy(golden.Prompt, golden.Greedy.Length), Is.EqualTo(golden.Greedy), $"prompt of {golden.Prompt.Length}");
            }
        });
    }

    [Test]
    public void Forward_PromptInTwoChunks_GivesTheSame() => Assert.Multiple(() =>
    {
        foreach (GoldenCase golden in _cases)
        {
            int length = golden.Prompt.Length;
            if (backend.IsSlow && length > SplitEverywhere) continue;
            float[][] whole = _harness.Prompt(golden.Prompt, 8);
            foreach (int first in length > SplitEverywhere || backend.IsSlow ? SampleSplits.Where(first => first < length) : Enumerable.Range(1, length - 1))
            {
                AssertSame(_harness.Prompt(golden.Prompt, 8, first, length - first), whole, $"{folder}, {length} tokens as {first} + {length - first}");
            }
        }
    });

    [Test]
    public void Forward_AmongOthers_GivesTheSameAsAlone()
    {
        float[][][] alone = [.. _cases.Select(Alone)], together = Together();
        for (int i = 0; i < alone.Length; i++) AssertSame(together[i], alone[i], $"{folder}, case {i}");
    }

    // The same bits where the backend promises them, else within what its arithmetic may differ by.
    private void AssertSame(float[][] actual, float[][] expected, string what)
    {
        if (backend.IsExact) Assert.That(actual, Is.EqualTo(expected), what);
        else Assert.That(RelativeError([.. actual.SelectMany(row => row)], [.. expected.SelectMany(row => row)]), Is.LessThan(ComputesInF32 ? 1e-4 : 2e-2), what);
    }

    private bool ComputesInF32 => _harness.Model.Backend.PrecisionFor(_harness.Model.Shape.WeightType) == new Precision(DType.F32, DType.F32, DType.F32, DType.F32);

    private ModelHarness Harness(ModelConfig config)
    {
        IBackend device = backend.Create();
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(_path);
        return new ModelHarness(ModelLoader.Load(config, checkpoint, device, new ModelLoadOptions()));
    }

    // Finds the convention under which the goldens are met, once; says what misses them if there is none.
    private string FindConvention()
    {
        if (_golden is not null) return "";
        ModelConfig config = ModelConfig.Read(Path.Combine(_path, "config.json"));
        List<string> misses = [];
        foreach (GoldenConvention convention in GoldenConvention.All)
        {
            if (convention.Apply(config, _harness.Model.Shape.WeightType) is not { } applied) continue;
            ModelHarness harness = ReferenceEquals(applied, config) ? _harness : Harness(applied);
            if (Miss(harness) is not { } miss)
            {
                _golden = harness;
                TestContext.Out.WriteLine($"{folder} on {backend}: goldens met {convention.Name}.");
                return "";
            }
            misses.Add($"{folder} on {backend}, {convention.Name}: {miss}");
            if (harness != _harness) harness.Dispose();
        }
        return string.Join(Environment.NewLine, misses);
    }

    // What is wrong with the logits; null where they are within the kit's bounds.
    private string? Miss(ModelHarness harness)
    {
        foreach (GoldenCase golden in _cases)
        {
            float[] actual = [.. harness.Prompt(golden.Prompt, golden.Logits.Length).SelectMany(row => row)];
            float[] expected = [.. golden.Logits.SelectMany(row => row)];
            (double error, double bound) = ComputesInF32
                ? (LargestError(actual, expected) / expected.Max(MathF.Abs), 2e-3)
                : (RelativeError(actual, expected), 2e-2);
            if (!ComputesInF32) TestContext.Out.WriteLine($"{folder} on {backend}, prompt of {golden.Prompt.Length}: relative error {error:E2}");
            if (!(error < bound)) return $"the logits of the prompt of {golden.Prompt.Length} are off by {error:E2} (bound {bound:E0})";
        }
        return null;
    }

    // Logits after the prompt and after each of the first golden tokens.
    private float[][] Alone(GoldenCase golden)
    {
        ModelHarness.Sequence sequence = _harness.Start(golden.Prompt.Length);
        List<float[]> rows = [_harness.Step(new ModelHarness.Work(sequence, golden.Prompt, 1))[0]];
        for (int i = 0; i < _traceLength - 1; i++) rows.Add(_harness.Step(new ModelHarness.Work(sequence, [golden.Greedy[i]], 1))[0]);
        _harness.Finish(sequence);
        return [.. rows];
    }

    // The same, with all cases in the same steps. They start one after the other, so that decodes and prompt chunks meet.
    private float[][][] Together()
    {
        ModelHarness.Sequence[] sequences = [.. _cases.Select(golden => _harness.Start(golden.Prompt.Length))];
        List<float[]>[] rows = [.. _cases.Select(_ => new List<float[]>())];
        int[] done = new int[_cases.Count];
        for (int step = 0; rows.Any(list => list.Count < _traceLength); step++)
        {
            List<ModelHarness.Work> work = [];
            List<List<float[]>> wanted = [];
            for (int i = 0; i < Math.Min(step + 1, _cases.Count); i++)
            {
                if (rows[i].Count == _traceLength) continue;
                (int[] prompt, int from) = (_cases[i].Prompt, done[i]);
                int[] tokens = from < prompt.Length ? prompt[from..Math.Min(from + 20, prompt.Length)] : [_cases[i].Greedy[from - prompt.Length]];
                done[i] += tokens.Length;
                bool hasLogits = done[i] >= prompt.Length;
                if (hasLogits) wanted.Add(rows[i]);
                work.Add(new ModelHarness.Work(sequences[i], tokens, hasLogits ? 1 : 0));
            }
            float[][] logits = _harness.Step([.. work]);
            for (int i = 0; i < logits.Length; i++) wanted[i].Add(logits[i]);
        }
        foreach (ModelHarness.Sequence sequence in sequences) _harness.Finish(sequence);
        return [.. rows.Select(list => list.ToArray())];
    }

    private static double LargestError(float[] actual, float[] expected) => actual.Zip(expected, (a, e) => Math.Abs((double)a - e)).Max();

    private static double RelativeError(float[] actual, float[] expected) =>
        Math.Sqrt(actual.Zip(expected, (a, e) => ((double)a - e) * ((double)a - e)).Sum() / expected.Sum(e => (double)e * e));
}
