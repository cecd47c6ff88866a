using FastGen.Compute;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private StepState? _steps;
    private RaggedBatch? _current;
    private bool _replayable;
    private int _longestContext;
    private long _singleKeys;

    private StepState Steps => _steps ?? throw new InvalidOperationException($"{nameof(Prepare)} comes before the first step.");

    /// <inheritdoc/>
    public long Submit(RaggedBatch batch, Action<int, int> forward)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(forward);
        try
        {
            return Start(batch, forward);
        }
        catch (CudaException exception) when (exception.LosesDevice || _device.IsLost)
        {
            throw Lost(exception);
        }
        catch (CudaException exception) when (exception.LacksMemory)
        {
            // Modules and recorded steps take memory of their own.
            throw _device.OutOfMemory($"what {exception.Call} needs", exception);
        }
    }

    /// <inheritdoc/>
    public void Collect(long ticket, Span<int> tokens)
    {
        Await(ticket);
        Steps.Drawn(ticket, tokens.Length).CopyTo(tokens);
    }

    /// <inheritdoc/>
    public void CollectLogProbabilities(long ticket, Span<TokenLogProbability> target)
    {
        Await(ticket);
        Steps.LogProbabilitiesOf(ticket, target.Length).CopyTo(target);
    }

    private void Await(long ticket)
    {
        try
        {
            _device.MakeCurrent();
            Steps.Wait(ticket);
        }
        catch (CudaException exception) when (exception.LosesDevice || _device.IsLost)
        {
            throw Lost(exception);
        }
    }

    private DeviceLostException Lost(CudaException exception) =>
        new($"{Description} can no longer be used by this process ({exception.Message}). Start the process anew.", exception);

    private long Start(RaggedBatch batch, Action<int, int> forward)
    {
        _device.MakeCurrent();
        _timeline?.Mark();
        long ticket = Steps.Begin(batch);
        _timeline?.Mark();
        _current = batch;
        try
        {
            _replayable = _options.UseGraphs && batch.IsDecode;
            (_longestContext, _singleKeys) = (Longest(batch.ContextLengths), Steps.Plan.SingleKeys);
            if (_replayable)
            {
                int rows = StepGraphs.Bucket(batch.TokenCount, Math.Min(batch.Limits.Sequences, batch.Limits.Tokens));
                _graphs.Run(new StepKey(forward, rows, _splitting.Shape(rows, _longestContext, _singleKeys), Steps.LogProbabilityNeed), this);
            }
            else
            {
                Queue(forward, batch.TokenCount, batch.LogitRowCount);
            }
        }
        finally
        {
            _current = null;
            _pending = null;
            _timeline?.Mark();
            Steps.End(ticket);
        }
        return ticket;
    }

    /// <summary>Queues the operations of a step.</summary>
    internal void Queue(Action<int, int> forward, int rows, int logitRows)
    {
        forward(rows, logitRows);
        StorePending();
    }

    private static int Longest(ReadOnlySpan<int> contexts)
    {
        int longest = 0;
        foreach (int context in contexts) longest = Math.Max(longest, context);
        return longest;
    }

    // What every operation begins with. In a step the thread has the device; outside of one it may have used another meanwhile.
    private void Enter()
    {
        if (_current is null) _device.MakeCurrent();
        StorePending();
    }

    // The step's metadata. An operation called outside a step brings its batch along.
    private BatchView View(RaggedBatch batch)
    {
        Enter();
        if (_current != batch)
        {
            long ticket = Steps.Begin(batch);
            Steps.End(ticket);
            _device.Synchronize();
        }
        return Steps.View;
    }
}
