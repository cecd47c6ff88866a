using FastGen.Kernels.Cuda;

namespace FastGen.Tests;

/// <summary>The whole way on a GPU, with the default model.</summary>
[Category("Cuda")]
public sealed class CudaPipelineTests
{
    private static readonly string[] Openings = ["Once upon a time", "One rainy morning", "The little fox"];

    [OneTimeSetUp]
    public void RequireDevice()
    {
        CudaProbe probe = CudaBackend.Probe();
        if (!probe.IsUsable) Assert.Ignore(probe.Failure!);
    }

    [Test]
    public void Generate_F32Weights_GivesTheTokensOfTheCpu()
    {
        SamplingParameters greedy = SamplingParameters.Greedy with { MaxNewTokens = 100 };
        PipelineOptions options = new() { DType = Compute.DType.F32, Engine = new EngineOptions { CacheTokens = 8192 } };
        using Pipeline cpu = Pipeline.Load(DefaultModel.Folder, options with { Device = ComputeDevice.Cpu });
        using Pipeline cuda = Pipeline.Load(DefaultModel.Folder, options with { Device = ComputeDevice.Cuda() });
        IReadOnlyList<GenerationResult> expected = cpu.Generate(Openings, greedy), actual = cuda.Generate(Openings, greedy);
        Assert.That(actual.Select(result => result.Text), Is.EqualTo(expected.Select(result => result.Text)));
        Assert.That(cuda.Engine.Calibration, Is.Not.Null);
        foreach (CalibrationPoint point in cuda.Engine.Calibration!.Curve) TestContext.Out.WriteLine($"{point.Tokens} tokens a step: {point.TokensPerSecond:F0} tok/s");
    }

    [Test]
    public void Generate_PromptOfManySteps_GivesTheTokensOfTheCpu()
    {
        PipelineOptions options = new() { DType = Compute.DType.F32, Engine = new EngineOptions { TokenBudget = 64, CacheTokens = 4096 } };
        using Pipeline cpu = Pipeline.Load(DefaultModel.Folder, options with { Device = ComputeDevice.Cpu });
        using Pipeline cuda = Pipeline.Load(DefaultModel.Folder, options with { Device = ComputeDevice.Cuda() });
        string story = cpu.Generate("Once upon a time", SamplingParameters.Greedy with { MaxNewTokens = null }).Text;
        SamplingParameters greedy = SamplingParameters.Greedy with { MaxNewTokens = 40, IgnoreEndOfSequence = true };
        Assert.That(cuda.Generate($"{story} {story}", greedy).Text, Is.EqualTo(cpu.Generate($"{story} {story}", greedy).Text));
    }

    [Test]
    public async Task Generate_ManyRequestsCancellationsAndATinyCache_AllEnd()
    {
        using Pipeline pipeline = Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Device = ComputeDevice.Cuda(), Engine = new EngineOptions { TokenBudget = 128, CacheTokens = 640, MaxSequences = 16 } });
        Random random = new(3);
        List<Task> requests = [];
        int cancelled = 0, ended = 0;
        for (int i = 0; i < 2000; i++)
        {
            CancellationTokenSource source = new();
            if (random.Next(4) == 0) source.CancelAfter(random.Next(1, 200));
            SamplingParameters sampling = new() { Temperature = random.Next(2), TopP = 0.9f, Seed = (ulong)i, MaxNewTokens = random.Next(1, 60) };
            int[] prompt = [.. Enumerable.Range(0, random.Next(1, 120)).Select(_ => random.Next(3000))];
            requests.Add(Run());

            async Task Run()
            {
                try
                {
                    await pipeline.GenerateAsync(prompt, sampling, source.Token);
                    Interlocked.Increment(ref ended);
                }
                catch (GenerationCanceledException)
                {
                    Interlocked.Increment(ref cancelled);
                }
            }
        }
        await Task.WhenAll(requests).WaitAsync(TimeSpan.FromMinutes(4));
        TestContext.Out.WriteLine($"{ended} ended, {cancelled} cancelled, {pipeline.Engine.Statistics.Preemptions} preemptions, {pipeline.Engine.Statistics.Steps} steps");
        Assert.That(ended + cancelled, Is.EqualTo(2000));
        LlmEngineTests.AssertIdle(pipeline.Engine);
    }
}
