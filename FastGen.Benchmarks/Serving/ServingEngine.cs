using System.Diagnostics;
using FastGen.Benchmarks.Cuda;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Models;
using FastGen.Tests;
using Microsoft.Extensions.Logging.Abstractions;

namespace FastGen.Benchmarks.Serving;

/// <summary>One step as it was submitted.</summary>
/// <param name="Seconds">Since the start of the run.</param>
/// <param name="Tokens">Tokens in the step.</param>
/// <param name="Sequences">Sequences in the step.</param>
/// <param name="UsedBlocks">Cache blocks in use after the step before.</param>
/// <param name="Waiting">Requests that waited then.</param>
internal readonly record struct StepRecord(double Seconds, int Tokens, int Sequences, int UsedBlocks, int Waiting);

/// <summary>A model with its backend and engine, and a record of the steps that it ran.</summary>
internal sealed class ServingEngine : IDisposable
{
    private readonly Lock _gate = new();
    private readonly CudaBackend? _cuda;
    private List<StepRecord> _steps = new(1 << 16);

    private ServingEngine(ObservedBackend backend, CudaBackend? cuda, CausalLM model, EngineOptions options)
    {
        Backend = backend;
        _cuda = cuda;
        Vocabulary = model.Shape.VocabularySize;
        Engine = new LlmEngine(model, [], options);
    }

    public ObservedBackend Backend { get; }

    public LlmEngine Engine { get; }

    /// <summary>Bytes that this backend has allocated on its device; null on the CPU.</summary>
    public long? DeviceBytes => _cuda?.AllocatedBytes;

    /// <summary>Bytes that are free on its device; null on the CPU.</summary>
    public long? FreeDeviceBytes => _cuda?.FreeBytes;

    public int Vocabulary { get; }

    /// <summary>Tokens of the longest request that can run.</summary>
    public int LongestRequest => Math.Min(Engine.MaxContext, Engine.Statistics.TotalBlocks * Engine.Statistics.BlockSize);

    public static ServingEngine Load(ServeOptions options, StepPolicy policy, int sequences)
    {
        IBackend device = options.Device.CreateBackend(options.Threads, NullLogger.Instance);
        ObservedBackend backend = new(device);
        try
        {
            CausalLM model = options.Model is { } folder ? ModelLoader.Load(folder, backend).Model
                : device is CudaBackend cuda ? DeviceFilledModel.Load(cuda, options.Shape!, backend)
                : ModelLoader.Load(ModelConfig.Parse(ModelShapes.Config(options.Shape!)), new RandomCheckpoint(DType.BF16, options.Seed), backend, new ModelLoadOptions());
            return new ServingEngine(backend, device as CudaBackend, model, policy.ApplyTo(new EngineOptions
            {
                MaxSequences = sequences,
                CacheTokens = options.CacheTokens,
                MaxContext = options.Context is { } context ? Math.Min(context, model.Shape.MaxContext) : null,
            }));
        }
        catch
        {
            backend.Dispose();
            throw;
        }
    }

    /// <summary>Records each step from now on.</summary>
    /// <param name="start">Timestamp from which steps count their time.</param>
    public void StartRecording(long start)
    {
        lock (_gate) _steps.Clear();
        Backend.Submitting = batch =>
        {
            EngineStatistics statistics = Engine.Statistics;
            lock (_gate) _steps.Add(new StepRecord(Stopwatch.GetElapsedTime(start).TotalSeconds, batch.TokenCount, batch.SequenceCount, statistics.UsedBlocks, statistics.WaitingRequests));
        };
    }

    /// <summary>Ends recording and gives what was recorded.</summary>
    public List<StepRecord> StopRecording()
    {
        Backend.Submitting = null;
        lock (_gate)
        {
            List<StepRecord> steps = _steps;
            _steps = new List<StepRecord>(steps.Capacity);
            return steps;
        }
    }

    public void Dispose()
    {
        Engine.Dispose();
        Backend.Dispose();
    }
}
