using FastGen.Kernels.Cuda;
using Microsoft.Extensions.Logging;

namespace FastGen.Tests;

public sealed class ComputeDeviceTests
{
    [Test]
    public void Load_Auto_LogsWhatItTookAndWhy()
    {
        using RecordingLoggerFactory log = new();
        using Pipeline pipeline = Pipeline.Load(DefaultModel.Folder, new PipelineOptions { LoggerFactory = log, Engine = new EngineOptions { TokenBudget = 64, CacheTokens = 1024 } });
        CudaProbe probe = CudaBackend.Probe();
        Assert.That(log.Messages, Has.Some.Contains(probe.IsUsable ? "Took CUDA device" : probe.Failure!));
        Assert.That(log.Messages, Has.Some.Contains(pipeline.Device), "The engine says what it runs on.");
    }

    [TestCase(0)]
    [TestCase(100_000)]
    public void Load_ThreadsThatNoMachineHas_AreRefusedByName(int threads) => Assert.That(
        () => Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Device = ComputeDevice.Cpu, Threads = threads }),
        Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("threads"));

    [Test]
    public void Load_TypeThatIsNone_IsRefusedByName() => Assert.That(
        () => Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Device = ComputeDevice.Cpu, DType = (Compute.DType)77 }),
        Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("PipelineOptions.DType").And.Message.Contains("BF16").And.Message.Contains("77"));

    [Test]
    public void Load_GenerationThatIsNotFollowed_IsLoggedOnce()
    {
        string folder = Directory.CreateTempSubdirectory("fastgen").FullName;
        try
        {
            foreach (string file in Directory.GetFiles(DefaultModel.Folder)) File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
            File.WriteAllText(Path.Combine(folder, "generation_config.json"), """{"num_beams": 4, "max_length": 12, "stop_strings": ["!"]}""");
            using RecordingLoggerFactory log = new();
            using Pipeline pipeline = Pipeline.Load(folder, new PipelineOptions { LoggerFactory = log, Engine = new EngineOptions { TokenBudget = 64, CacheTokens = 1024 } });
            Assert.Multiple(() =>
            {
                Assert.That(log.Messages.Count(message => message.Contains("num_beams = 4", StringComparison.Ordinal) && message.Contains(folder, StringComparison.Ordinal)), Is.EqualTo(1));
                Assert.That((pipeline.DefaultSampling.MaxLength, pipeline.DefaultSampling.StopStrings.Single()), Is.EqualTo((12, "!")));
                Assert.That(pipeline.Generate(new int[] { 5, 6, 7 }).GeneratedTokens, Is.LessThanOrEqualTo(9));
            });
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void Load_CudaWhereThereIsNone_FailsWithTheProbe()
    {
        CudaProbe probe = CudaBackend.Probe();
        if (probe.IsUsable) Assert.Ignore("This machine has a CUDA device.");
        Assert.That(
            () => Pipeline.Load(DefaultModel.Folder, new PipelineOptions { Device = ComputeDevice.Cuda() }),
            Throws.TypeOf<CudaException>().With.Message.EqualTo(probe.ToString()));
    }

    [Test]
    public void ToString_SaysWhich() =>
        Assert.That((string[])[$"{ComputeDevice.Auto}", $"{ComputeDevice.Cpu}", $"{ComputeDevice.Cuda(2)}", $"{default(ComputeDevice)}"], Is.EqualTo((string[])["Auto", "Cpu", "Cuda(2)", "Auto"]));

    private sealed class RecordingLoggerFactory : ILoggerFactory, ILogger
    {
        public List<string> Messages { get; } = [];

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (Messages) Messages.Add(formatter(state, exception));
        }

        public void Dispose()
        {
        }
    }
}
