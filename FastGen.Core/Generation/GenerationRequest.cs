using System.Diagnostics;
using System.Threading.Tasks.Sources;

namespace FastGen;

/// <summary>When things happened to a request, from its submission on.</summary>
/// <param name="Queued">Until the first step that held it.</param>
/// <param name="FirstToken">Until its first token was known: the time to first token.</param>
/// <param name="Total">Until it ended.</param>
public readonly record struct GenerationTimings(TimeSpan Queued, TimeSpan FirstToken, TimeSpan Total);

/// <summary>
/// A request in the engine: the token ids that come out of it, for one consumer. The engine's thread writes, the consumer reads;
/// waking the consumer costs the engine one queued work item and no allocation.
/// </summary>
public sealed class GenerationRequest : IValueTaskSource, IThreadPoolWorkItem
{
    private const int NotWaiting = -1;

    // Not a Lock: a blocking wait sleeps on it.
    private readonly object _gate = new();
    private readonly Action<GenerationRequest> _cancel;
    private readonly long _submitted = Stopwatch.GetTimestamp();
    private ManualResetValueTaskSourceCore<bool> _signal;
    private int[] _tokens;
    private TokenLogProbabilities[]? _logProbabilities;
    private int _count;
    private int _wakeAbove = NotWaiting;
    private bool _waits, _blocks, _ended;
    private Action? _woken;
    private Exception? _error;
    private FinishReason _finishReason;
    private long _started, _firstToken, _endedAt;

    internal GenerationRequest(int promptTokens, int expectedTokens, Action<GenerationRequest> cancel)
    {
        PromptTokens = promptTokens;
        _tokens = new int[Math.Max(1, expectedTokens)];
        _cancel = cancel;
    }

    /// <summary>Tokens of the prompt.</summary>
    public int PromptTokens { get; }

    /// <summary>Generated tokens so far, a closing stop token included.</summary>
    public int Count
    {
        get { lock (_gate) return _count; }
    }

    /// <summary>True once no more tokens come.</summary>
    public bool HasEnded
    {
        get { lock (_gate) return _ended; }
    }

    /// <summary>Why it ended; meaningful once <see cref="HasEnded"/>.</summary>
    public FinishReason FinishReason
    {
        get { lock (_gate) return _finishReason; }
    }

    /// <summary>Times; complete once <see cref="HasEnded"/>.</summary>
    public GenerationTimings Timings
    {
        get
        {
            lock (_gate)
            {
                long now = _ended ? _endedAt : Stopwatch.GetTimestamp();
                return new GenerationTimings(
                    Stopwatch.GetElapsedTime(_submitted, _started == 0 ? now : _started),
                    Stopwatch.GetElapsedTime(_submitted, _firstToken == 0 ? now : _firstToken),
                    Stopwatch.GetElapsedTime(_submitted, now));
            }
        }
    }

    internal Sequence? Sequence { get; set; }

    /// <summary>
    /// Completes when more than <paramref name="known"/> tokens have come, or when no more will. One wait at a time.
    /// </summary>
    public ValueTask WaitAsync(int known)
    {
        lock (_gate)
        {
            if (_ended || _count > known) return ValueTask.CompletedTask;
            BeginWait(known);
            _signal.Reset();
            return new ValueTask(this, _signal.Version);
        }
    }

    /// <summary>As <see cref="WaitAsync"/>, but blocks the calling thread. The engine wakes it without help of the thread pool, which may be full of those who wait.</summary>
    public void Wait(int known)
    {
        lock (_gate)
        {
            if (_ended || _count > known) return;
            BeginWait(known);
            _blocks = true;
            try
            {
                while (_wakeAbove != NotWaiting) Monitor.Wait(_gate);
            }
            finally
            {
                (_waits, _blocks, _wakeAbove) = (false, false, NotWaiting);
            }
        }
    }

    /// <summary>
    /// As <see cref="WaitAsync"/>, for one thread that waits for several requests: calls <paramref name="woken"/> instead of completing, at once or on the engine's thread,
    /// where it must neither block nor throw.
    /// </summary>
    internal void Wait(int known, Action woken)
    {
        lock (_gate)
        {
            if (!_ended && _count <= known)
            {
                BeginWait(known);
                _woken = woken;
                return;
            }
        }
        woken();
    }

    /// <summary>Copies tokens from index <paramref name="first"/> on.</summary>
    /// <returns>The number copied: as many as have come and fit.</returns>
    public int CopyTokens(int first, Span<int> target)
    {
        lock (_gate)
        {
            CheckFirst(first);
            int count = Math.Min(target.Length, _count - first);
            _tokens.AsSpan(first, count).CopyTo(target);
            return count;
        }
    }

    /// <summary>Copies the log probabilities of the tokens from index <paramref name="first"/> on.</summary>
    /// <returns>The number copied: as many as have come and fit; 0 where the request did not ask for them (<see cref="SamplingParameters.LogProbabilities"/>).</returns>
    public int CopyLogProbabilities(int first, Span<TokenLogProbabilities> target)
    {
        lock (_gate)
        {
            CheckFirst(first);
            if (_logProbabilities is null) return 0;
            int count = Math.Min(target.Length, _count - first);
            _logProbabilities.AsSpan(first, count).CopyTo(target);
            return count;
        }
    }

    /// <summary>Throws what the request failed with, if it failed.</summary>
    /// <exception cref="DeviceLostException">The device can no longer be used.</exception>
    /// <exception cref="GenerationException">The request failed otherwise; its cause is inside.</exception>
    /// <exception cref="ObjectDisposedException">The engine was disposed meanwhile.</exception>
    public void ThrowIfFailed()
    {
        lock (_gate)
        {
            // Each consumer gets its own exception object: one thrown from several threads garbles its stack trace.
            if (_error is ObjectDisposedException) throw Disposed();
            if (_error is DeviceLostException) throw new DeviceLostException(_error.Message, _error);
            if (_error is not null) throw new GenerationException(_error.Message, _error);
        }
    }

    /// <summary>Asks the engine to end the request at its next step, also inside a prompt. Returns at once; harmless when it has ended.</summary>
    public void Cancel() => _cancel(this);

    void IThreadPoolWorkItem.Execute() => _signal.SetResult(true);

    void IValueTaskSource.GetResult(short token)
    {
        lock (_gate) _waits = false;
        _signal.GetResult(token);
    }

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _signal.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _signal.OnCompleted(continuation, state, token, flags);

    internal static ObjectDisposedException Disposed() => new(nameof(LlmEngine), "The engine was disposed while the request was running.");

    internal void Start(long timestamp)
    {
        if (_started == 0) _started = timestamp;
    }

    internal void Publish(int token, TokenLogProbabilities? logProbabilities = null)
    {
        bool wake;
        lock (_gate)
        {
            if (_ended) return;
            if (_count == 0) _firstToken = Stopwatch.GetTimestamp();
            if (_count == _tokens.Length) Array.Resize(ref _tokens, 2 * _count);
            if (logProbabilities is not null) Keep(logProbabilities);
            _tokens[_count++] = token;
            wake = _count > _wakeAbove && EndWait();
        }
        if (wake) Wake();
    }

    internal void Finish(FinishReason reason) => End(reason, null);

    internal void Fail(Exception error) => End(FinishReason.Cancelled, error);

    private void End(FinishReason reason, Exception? error)
    {
        bool wake;
        lock (_gate)
        {
            if (_ended) return;
            (_ended, _finishReason, _error, _endedAt) = (true, reason, error, Stopwatch.GetTimestamp());
            wake = EndWait();
        }
        if (wake) Wake();
    }

    // A request asks for them at every token or at none.
    private void Keep(TokenLogProbabilities logProbabilities)
    {
        _logProbabilities ??= new TokenLogProbabilities[_tokens.Length];
        if (_logProbabilities.Length < _tokens.Length) Array.Resize(ref _logProbabilities, _tokens.Length);
        _logProbabilities[_count] = logProbabilities;
    }

    private void CheckFirst(int first)
    {
        if ((uint)first > (uint)_count) throw new ArgumentOutOfRangeException(nameof(first), first, $"The first token to copy must be from 0 to {_count}, the number that have come.");
    }

    private void BeginWait(int known)
    {
        if (_waits) throw new InvalidOperationException("A request has one consumer, which waits once at a time.");
        (_waits, _wakeAbove) = (true, known);
    }

    // True if somebody is to be woken outside the gate.
    private bool EndWait()
    {
        if (_wakeAbove == NotWaiting) return false;
        _wakeAbove = NotWaiting;
        if (_woken is not null) _waits = false;
        if (_blocks) Monitor.Pulse(_gate);
        return !_blocks;
    }

    private void Wake()
    {
        if (Interlocked.Exchange(ref _woken, null) is { } woken) woken();
        else ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }
}
