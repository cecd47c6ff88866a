using System.Diagnostics;
using System.Threading.Channels;
using FastGen.Compute;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace FastGen;

/// <summary>
/// Runs a model for any number of callers at once: token ids in, token ids out. One thread owns the scheduler, the cache and the backend;
/// requests come to it through a channel and tokens leave through <see cref="GenerationRequest"/>. The host schedules a step while the device runs
/// the one before, so a stop token is seen one step late and the extra token is dropped.
/// </summary>
public sealed partial class LlmEngine : IDisposable
{
    private readonly IBackend _backend;
    private readonly ModelShape _shape;
    private readonly int[] _stopTokens;
    private readonly ILogger _logger;
    private readonly BlockAllocator _blocks;
    private readonly Scheduler _scheduler;
    private readonly ModelRunner _runner;
    private readonly TokenBudgetController? _budgetController;
    private readonly EngineStep[] _steps;

    // Whoever writes wakes the engine's thread; the thread pool may be full of those who wait for it.
    private readonly Channel<Command> _commands = Channel.CreateUnbounded<Command>(new UnboundedChannelOptions { SingleReader = true, AllowSynchronousContinuations = true });
    private readonly Action<GenerationRequest> _cancel;
    private readonly Thread _thread;
    private Action? _afterwards;
    private readonly Lock _statisticsGate = new();
    private EngineStatistics _statistics;
    private volatile Exception? _fault;
    private long _lastEnd, _stepCount, _computedTokens, _generatedTokens;

    /// <summary>
    /// Allocates all buffers and then the cache on the model's backend, chooses the token budget and starts the engine's thread. Where no option gives the cache's size and
    /// the backend compiles steps, the largest steps run before it is made.
    /// </summary>
    /// <param name="model">A loaded model; its backend serves this engine alone and must outlive it.</param>
    /// <param name="stopTokens">Token ids that end generation unless a request says otherwise.</param>
    /// <param name="options">Sizes; null for defaults.</param>
    /// <param name="logger">Where choices and failures are logged; null for nowhere.</param>
    /// <param name="cancellationToken">Ends warm-up and calibration between two of their steps; the backend is then good for nothing but its disposal.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of range, or asks for more than the model has.</exception>
    /// <exception cref="ArgumentException">Two options contradict each other.</exception>
    /// <exception cref="OperationCanceledException">Cancelled before the engine was ready.</exception>
    public LlmEngine(CausalLM model, IReadOnlyList<int> stopTokens, EngineOptions? options = null, ILogger? logger = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(stopTokens);
        options ??= new EngineOptions();
        options.Validate();
        _backend = model.Backend;
        _shape = model.Shape;
        // Some checkpoints name ids beyond their vocabulary: these are never drawn, nor can they be suppressed.
        _stopTokens = [.. stopTokens.Where(id => (uint)id < (uint)_shape.VocabularySize)];
        _logger = logger ?? NullLogger.Instance;
        if (_stopTokens.Length < stopTokens.Count) Log.StopTokensBeyondVocabulary(_logger, string.Join(", ", stopTokens.Except(_stopTokens)), _shape.VocabularySize);
        _cancel = request => _commands.Writer.TryWrite(new Command(request.Sequence!, Cancel: true));

        EngineSizes sizes = EngineSizes.Choose(_backend, _shape, options);
        MaxContext = sizes.MaxContext;
        _backend.Prepare(_shape, sizes.Limits);
        Activations activations = new(_backend, _shape, sizes.Limits);
        int blocks = sizes.Blocks ?? CacheMeasurement.ChooseBlocks(model, activations, sizes, cancellationToken);
        CacheBytes = blocks * sizes.BlockBytes;
        _runner = new ModelRunner(model, sizes.MakeCache(_backend, _shape, blocks), activations);
        if (sizes.Blocks is not null) StepWarmUp.Compile(_backend, _runner, sizes.Limits, cancellationToken);
        StepWarmUp.RunDecodes(_backend, _runner, sizes.Limits, _shape.VocabularySize, MaxContext, cancellationToken);
        _blocks = new BlockAllocator(blocks, options.BlockSize);
        int stepTokens = sizes.Limits.Tokens, backlogTokens = 0, streamingTokens = 0;
        if (options.TokenBudget is null && options.Scheduler.SplitFuse)
        {
            Calibration = TokenBudgetCalibration.Measure(_backend, _runner, sizes.Limits, _shape.VocabularySize, MaxContext, cancellationToken);
            if (options.Scheduler.TargetTimeBetweenTokens is { } target) _budgetController = new TokenBudgetController(Calibration, target, stepTokens);
            else (stepTokens, backlogTokens, streamingTokens) = (Calibration.ThroughputTokenBudget, Calibration.BacklogTokenBudget, Calibration.StreamingTokenBudget);
            Log.Calibrated(_logger, Calibration);
        }
        StepWarmUp.RunPrompts(_backend, _runner, sizes.Limits, _shape.VocabularySize, MaxContext, _budgetController?.Budget ?? stepTokens, cancellationToken);
        int watermark = (int)Math.Ceiling(options.Watermark * blocks);
        _scheduler = new Scheduler(_blocks, new SchedulerLimits(stepTokens, options.MaxSequences, _shape.CacheWindow, watermark, streamingTokens, backlogTokens, options.Scheduler.SplitFuse));
        if (_budgetController is not null) _scheduler.TokenBudget = _budgetController.Budget;
        _steps = [new EngineStep(sizes.Limits), new EngineStep(sizes.Limits)];
        UpdateStatistics();
        Log.Started(_logger, _backend.Description, TokenBudget, blocks, options.BlockSize, CacheBytes / (1 << 20), MaxContext);
        _thread = new Thread(Run) { Name = "FastGen engine", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Longest sequence in tokens, prompt and output together.</summary>
    public int MaxContext { get; }

    /// <summary>The most tokens that one step may hold; with <see cref="SchedulerOptions.TargetTimeBetweenTokens"/> it changes from step to step.</summary>
    public int TokenBudget => _scheduler.TokenBudget;

    /// <summary>Bytes of the key/value cache.</summary>
    public long CacheBytes { get; }

    /// <summary>How the token budget was measured; null where it was given, or where prompts run whole.</summary>
    public TokenBudgetCalibration? Calibration { get; }

    /// <summary>The state after the last step.</summary>
    public EngineStatistics Statistics
    {
        get { lock (_statisticsGate) return _statistics; }
    }

    /// <summary>Queues a request. Safe to call from any thread.</summary>
    /// <param name="prompt">Token ids, at least one; special tokens are not added.</param>
    /// <param name="sampling">How to draw and when to end. Stop strings are the caller's to find; generation also ends at the context limit.</param>
    /// <param name="isStreamed">Whether somebody reads the tokens as they come. While no such request has begun to answer, steps are as large as throughput wants.</param>
    /// <exception cref="ArgumentException">The prompt is empty or too long, holds an id outside the vocabulary, or a parameter is out of range.</exception>
    /// <exception cref="ObjectDisposedException">The engine was disposed.</exception>
    /// <exception cref="DeviceLostException">The device can no longer be used.</exception>
    /// <exception cref="GenerationException">The engine can no longer run.</exception>
    public GenerationRequest Submit(ReadOnlySpan<int> prompt, SamplingParameters sampling, bool isStreamed = true)
    {
        ArgumentNullException.ThrowIfNull(sampling);
        sampling.Validate();
        CheckPrompt(prompt);
        int[] stopTokens = sampling.IgnoreEndOfSequence ? [.. sampling.StopTokenIds.Distinct()] : [.. _stopTokens.Union(sampling.StopTokenIds)];
        foreach (int id in sampling.StopTokenIds)
        {
            if ((uint)id >= (uint)_shape.VocabularySize) throw new ArgumentOutOfRangeException(nameof(sampling), id, $"{nameof(SamplingParameters.StopTokenIds)} holds {id}; the vocabulary has ids 0 to {_shape.VocabularySize - 1}.");
        }

        int maxTokens = MaxTokens(prompt.Length, sampling);
        GenerationRequest request = new(prompt.Length, Math.Min(maxTokens - prompt.Length, 4096), _cancel);
        request.Sequence = new Sequence(prompt, maxTokens, _blocks.BlockSize)
        {
            Request = request,
            IsStreamed = isStreamed,
            Deadline = Stopwatch.GetTimestamp() + (prompt.Length * Stopwatch.Frequency / Scheduler.PromptRate),
            StopTokens = stopTokens,
            MinNewTokens = sampling.MinNewTokens,
            RecomputeBeyond = _shape.RecomputeBeyond,
            Sampling = sampling.ForSlot(sampling.Seed ?? (ulong)Random.Shared.NextInt64(), prompt.Length),
        };
        if (!_commands.Writer.TryWrite(new Command(request.Sequence, Cancel: false))) throw Ended();
        return request;
    }

    /// <summary>Ends all requests with an <see cref="ObjectDisposedException"/> after the steps in flight, and stops the engine's thread. The model's backend stays.</summary>
    public void Dispose() => Dispose(static () => { });

    /// <summary>Disposes, and runs <paramref name="afterwards"/> once no step needs the backend any more: where a logger disposes on the engine's own thread, after that has ended its work.</summary>
    internal void Dispose(Action afterwards)
    {
        _commands.Writer.TryComplete();
        if (Thread.CurrentThread == _thread)
        {
            _afterwards += afterwards;
            return;
        }
        _thread.Join();
        afterwards();
    }

    private int MaxTokens(int promptLength, SamplingParameters sampling)
    {
        if (sampling.MaxLength <= promptLength)
        {
            throw new ArgumentException($"The prompt has {promptLength} tokens, but {nameof(SamplingParameters.MaxLength)} allows {sampling.MaxLength} with the output. Shorten the prompt, or raise it.", nameof(sampling));
        }
        long wanted = Math.Min(Math.Min(MaxContext, sampling.MaxLength ?? int.MaxValue), sampling.MaxNewTokens is { } limit ? (long)promptLength + limit : long.MaxValue);
        if (_scheduler.PeakBlocks((int)wanted) <= _blocks.TotalBlocks) return (int)wanted;

        int cacheTokens = _blocks.TotalBlocks * _blocks.BlockSize;
        if (sampling.MaxNewTokens is null && cacheTokens > promptLength) return cacheTokens;
        throw new ArgumentException(
            $"The request can grow to {wanted} tokens ({promptLength} of the prompt and {wanted - promptLength} new), but the key/value cache holds {cacheTokens}. " +
            $"Shorten the prompt, lower {nameof(SamplingParameters.MaxNewTokens)} or enlarge the cache.", nameof(sampling));
    }

    private void CheckPrompt(ReadOnlySpan<int> prompt)
    {
        if (prompt.IsEmpty) throw new ArgumentException("The prompt is empty: give at least one token (a beginning-of-sequence token will do).", nameof(prompt));
        int limit = Math.Min(MaxContext - 1, _shape.MaxPrompt == 0 ? int.MaxValue : _shape.MaxPrompt);
        if (prompt.Length > limit)
        {
            string reason = limit == MaxContext - 1 ? $"context {MaxContext}, one token is kept for the output" : "the model's dynamic rotary scaling lets texts grow longer, but not begin longer";
            string remedy = limit == MaxContext - 1 && MaxContext < _shape.MaxContext ? $", or raise {nameof(EngineOptions.MaxContext)}; the model was made for {_shape.MaxContext}" : "";
            throw new ArgumentException($"The prompt has {prompt.Length} tokens; at most {limit} fit ({reason}). Shorten the prompt{remedy}.", nameof(prompt));
        }
        for (int i = 0; i < prompt.Length; i++)
        {
            if ((uint)prompt[i] >= (uint)_shape.VocabularySize) throw new ArgumentException($"Token {i} of the prompt is {prompt[i]}; the vocabulary has ids 0 to {_shape.VocabularySize - 1}.", nameof(prompt));
        }
    }

    private Exception Ended() => _fault switch
    {
        null => new ObjectDisposedException(nameof(LlmEngine), "The engine was disposed."),
        DeviceLostException lost => new DeviceLostException(lost.Message, lost),
        { } fault => new GenerationException($"The engine ended: {fault.Message}", fault),
    };

    private void UpdateStatistics()
    {
        lock (_statisticsGate)
        {
            _statistics = new EngineStatistics
            {
                RunningRequests = _scheduler.RunningCount,
                WaitingRequests = _scheduler.WaitingCount,
                UsedBlocks = _blocks.UsedBlocks,
                PeakUsedBlocks = _blocks.PeakUsedBlocks,
                TotalBlocks = _blocks.TotalBlocks,
                BlockSize = _blocks.BlockSize,
                TokenBudget = TokenBudget,
                Steps = _stepCount,
                ComputedTokens = _computedTokens,
                GeneratedTokens = _generatedTokens,
                Preemptions = _scheduler.Preemptions,
            };
        }
    }

    private readonly record struct Command(Sequence Sequence, bool Cancel);

    private static partial class Log
    {
        [LoggerMessage(Level = LogLevel.Information, Message = "Engine on {Backend}: {TokenBudget} tokens a step, cache of {Blocks} blocks of {BlockSize} tokens ({Megabytes} MiB), context {MaxContext}.")]
        public static partial void Started(ILogger logger, string backend, int tokenBudget, int blocks, int blockSize, long megabytes, int maxContext);

        [LoggerMessage(Level = LogLevel.Warning, Message = "Stop tokens {Ids} lie beyond the {Vocabulary} ids of the vocabulary: nothing draws them, and they end nothing.")]
        public static partial void StopTokensBeyondVocabulary(ILogger logger, string ids, int vocabulary);

        [LoggerMessage(Level = LogLevel.Debug, Message = "Steps as calibrated:\n{Curve}")]
        public static partial void Calibrated(ILogger logger, TokenBudgetCalibration curve);

        [LoggerMessage(Level = LogLevel.Error, Message = "A step of {Requests} requests failed; they end, others go on.")]
        public static partial void StepFailed(ILogger logger, int requests, Exception exception);

        [LoggerMessage(Level = LogLevel.Critical, Message = "The engine cannot go on; all requests end.")]
        public static partial void Lost(ILogger logger, Exception exception);
    }
}
