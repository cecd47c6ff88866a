using FastGen.Compute;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>
/// Every model folder of the kit that has expected.json, on every backend, against Hugging Face transformers and against itself: in the type that it is stored
/// in, and BF16 as F16 too.
/// </summary>
[TestFixtureSource(nameof(Fixtures))]
[Parallelizable(ParallelScope.Self)]
public sealed class ModelGoldenTests(string? folder, TestBackend backend, DType? type)
{
    // Prompts up to this length are split at every point, longer ones at a few.
    private const int SplitEverywhere = 48;

    // The kit's bound for relative errors of logits in 16-bit arithmetic.
    private const double HalfBound = 2e-2;

    private static readonly int[] SampleSplits = [1, 16, 32];

    // Steps whose logits are compared where sequences share steps.
    private readonly int _traceLength = backend.IsSlow ? 5 : 12;

    private IReadOnlyList<GoldenCase> _cases = [];
    private ModelHarness _harness = null!;
    private ModelHarness? _golden;
    private string _path = "";
    private DType _stored;
    private TransformersErrors? _recorded;

    // What misses the kit's bound, but not by more than 16-bit arithmetic explains. A test with one of these is skipped: it neither passes nor fails.
    private readonly List<string> _excused = [];

    public static IEnumerable<TestFixtureData> Fixtures() =>
        from name in ConformanceKit.Folders("models")
        where name is null || File.Exists(Path.Combine(ConformanceKit.Root!, "models", name, "expected.json"))
        from backend in (IEnumerable<TestBackend>)[.. TestBackends.All, TestBackends.Cuda, TestBackends.CudaDeterministic]
        from type in (IEnumerable<DType?>)(IsStoredAsBFloat16(name) ? [null, DType.F16] : [null])
        select Fixture(name, backend, type);

    private static TestFixtureData Fixture(string? name, TestBackend backend, DType? type)
    {
        TestFixtureData fixture = new TestFixtureData(name, backend, type).SetArgDisplayNames([name ?? "no kit", backend.Name, .. type is null ? Array.Empty<string>() : [$"{type}"]]);
        if (backend == TestBackends.Cuda || backend == TestBackends.CudaDeterministic) fixture.Properties.Add("Category", "Cuda");
        return fixture;
    }

    private static bool IsStoredAsBFloat16(string? name)
    {
        if (name is null) return false;
        try
        {
            using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(ConformanceKit.Folder("models", name));
            return checkpoint.MainType == DType.BF16;
        }
        catch (ModelLoadException)
        {
            // The fixture says what is wrong.
            return false;
        }
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
        _recorded = TransformersErrors.Of(_path, _harness.Model.Shape.WeightType);
    }

    [SetUp]
    public void Begin() => _excused.Clear();

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
        SkipIfExcused();
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
    public void Forward_PromptInTwoChunks_GivesTheSame()
    {
        Assert.Multiple(() =>
        {
            for (int i = 0; i < _cases.Count; i++)
            {
                GoldenCase golden = _cases[i];
                int length = golden.Prompt.Length;
                if (backend.IsSlow && length > SplitEverywhere) continue;
                float[][] whole = _harness.Prompt(golden.Prompt, golden.Logits.Length);
                foreach (int first in length > SplitEverywhere || backend.IsSlow ? SampleSplits.Where(first => first < length) : Enumerable.Range(1, length - 1))
                {
                    float[][] parts = _harness.Prompt(golden.Prompt, golden.Logits.Length, first, length - first);
                    AssertSame(parts, whole, BetweenRuns(_recorded?.Prompt[i]), $"{Subject}, {length} tokens as {first} + {length - first}", golden);
                }
            }
        });
        SkipIfExcused();
    }

    [Test]
    public void Forward_AmongOthers_GivesTheSameAsAlone()
    {
        float[][][] alone = [.. _cases.Select(Alone)], together = Together();
        Assert.Multiple(() =>
        {
            for (int i = 0; i < alone.Length; i++) AssertSame(together[i], alone[i], BetweenRuns(_recorded?.Path[i]), $"{Subject}, case {i} among others");
        });
        SkipIfExcused();
    }

    private void SkipIfExcused()
    {
        if (_excused.Count > 0) Assert.Ignore(string.Join(Environment.NewLine, _excused));
    }

    // Two runs that are each as far from exact as transformers' own arithmetic of that type, or as the kit allows, lie at most twice as far apart.
    private static double BetweenRuns(double? recorded) => Math.Clamp(2 * recorded ?? 0, HalfBound, 2 * HalfBound);

    // The same bits where the backend promises them, else within the kit's bound. Excused up to `excusable`, and where a prompt's logits are those of the other choice at a near
    // tie between experts.
    private void AssertSame(float[][] actual, float[][] expected, double excusable, string what, GoldenCase? prompt = null)
    {
        if (backend.IsExact)
        {
            Assert.That(actual, Is.EqualTo(expected), what);
            return;
        }
        float[] values = [.. actual.SelectMany(row => row)];
        double error = RelativeError(values, [.. expected.SelectMany(row => row)]), bound = ComputesInF32 ? 1e-4 : HalfBound;
        if (error > HalfBound / 4) TestContext.Out.WriteLine($"{what}: differs by {error:E2}");
        bool isExcused = error >= bound && !ComputesInF32
            && (error < excusable || (prompt is not null && MeetsOtherChoice(values, ModelConfig.Read(Path.Combine(_path, "config.json")), prompt, excusable)));
        if (isExcused) _excused.Add($"{what}: differs by {error:E2}, where the kit allows {HalfBound}.");
        else Assert.That(error, Is.LessThan(bound), what);
    }

    private string Subject => $"{folder}{(type is null ? "" : $" as {type}")} on {backend}";

    private bool ComputesInF32 => _harness.Model.Backend.PrecisionFor(_harness.Model.Shape.WeightType) == new Precision(DType.F32, DType.F32, DType.F32, DType.F32);

    private ModelHarness Harness(ModelConfig config)
    {
        IBackend device = backend.Create();
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(_path);
        _stored = checkpoint.MainType;
        return new ModelHarness(ModelLoader.Load(config, checkpoint, device, new ModelLoadOptions { WeightType = type }));
    }

    // Finds the convention under which the goldens are met, once; says what misses them if there is none.
    private string FindConvention()
    {
        if (_golden is not null) return "";
        ModelConfig config = ModelConfig.Read(Path.Combine(_path, "config.json"));
        List<string> misses = [], leastExcused = [];
        string met = "";
        foreach (GoldenConvention convention in GoldenConvention.All)
        {
            if (convention.Apply(config, _stored) is not { } applied) continue;
            ModelHarness harness = ReferenceEquals(applied, config) ? _harness : Harness(applied);
            List<string> excused = [];
            string? miss = Miss(harness, applied, excused);
            // One that needs no excuse comes before those that do.
            if (miss is null && (_golden is null || excused.Count < leastExcused.Count))
            {
                if (_golden != _harness) _golden?.Dispose();
                (_golden, leastExcused, met) = (harness, excused, convention.Name);
                if (excused.Count == 0) break;
                continue;
            }
            if (miss is not null) misses.Add($"{Subject}, {convention.Name}: {miss}");
            if (harness != _harness) harness.Dispose();
        }
        if (_golden is not null)
        {
            TestContext.Out.WriteLine($"{Subject}: goldens met {met}.");
            _excused.AddRange(leastExcused.Select(excuse => $"{Subject}: {excuse}"));
            return "";
        }
        return string.Join(Environment.NewLine, misses);
    }

    // What is wrong with the logits; null where they are within the kit's bounds. Excused, in 16-bit arithmetic, where they are no further from them than transformers' own of
    // that type, or within the bounds with a near tie between experts turned the other way.
    private string? Miss(ModelHarness harness, ModelConfig config, List<string> excused)
    {
        List<string> misses = [];
        for (int i = 0; i < _cases.Count; i++)
        {
            GoldenCase golden = _cases[i];
            float[] actual = [.. harness.Prompt(golden.Prompt, golden.Logits.Length).SelectMany(row => row)];
            float[] expected = [.. golden.Logits.SelectMany(row => row)];
            (double error, double bound) = ComputesInF32
                ? (LargestError(actual, expected) / expected.Max(MathF.Abs), 2e-3)
                : (RelativeError(actual, expected), HalfBound);
            if (!ComputesInF32) TestContext.Out.WriteLine($"{Subject}, prompt of {golden.Prompt.Length}: relative error {error:E2}");
            if (error < bound) continue;
            bool isExcused = !ComputesInF32 && (error < _recorded?.Prompt[i] || MeetsOtherChoice(actual, config, golden, HalfBound));
            (isExcused ? excused : misses).Add($"the logits of the prompt of {golden.Prompt.Length} are off by {error:E2} (bound {bound:E0})");
        }
        return misses.Count == 0 ? null : string.Join("; ", misses);
    }

    private bool MeetsOtherChoice(float[] actual, ModelConfig config, GoldenCase golden, double bound)
    {
        if (ComputesInF32 || config is not ExpertConfig { Experts: > 0 }) return false;
        foreach (float[] other in RouterTies.OtherLogits(config, _path, _harness.Model.Shape.WeightType, golden))
        {
            double error = RelativeError(actual, other);
            TestContext.Out.WriteLine($"{Subject}, prompt of {golden.Prompt.Length}: relative error {error:E2} with the other choice at a near tie");
            if (error < bound) return true;
        }
        return false;
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
