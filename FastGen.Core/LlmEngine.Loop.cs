using System.Diagnostics;
using FastGen.Compute;

namespace FastGen;

public sealed partial class LlmEngine
{
    private void Run()
    {
        try
        {
            EngineStep? inFlight = null;
            while (ReadCommands())
            {
                // 1 schedule, 2 build the batch and start it, 3 collect the step before, 4 publish
                EngineStep? next = Start(_steps[inFlight == _steps[0] ? 1 : 0], mayPreempt: inFlight is null);
                if (inFlight is not null)
                {
                    Finish(inFlight);
                    ObserveDuration(inFlight, next);
                }
                inFlight = next;
                UpdateStatistics();
                if (next is null && _scheduler.RunningCount + _scheduler.WaitingCount == 0 && !WaitForCommands()) break;
            }
            if (inFlight is not null) Finish(inFlight);
            FailAll(GenerationRequest.Disposed());
        }
        catch (Exception exception)
        {
            _fault = exception;
            _commands.Writer.TryComplete();
            FailAll(exception);
            Report(() => Log.Lost(_logger, exception));
        }
        UpdateStatistics();
        _afterwards?.Invoke();
    }

    private bool WaitForCommands() => _commands.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult();

    private bool ReadCommands()
    {
        // A completed channel still hands out what was written before; the requests in it must be ended too.
        while (_commands.Reader.TryRead(out Command command))
        {
            Sequence sequence = command.Sequence;
            if (!command.Cancel)
            {
                _scheduler.Add(sequence);
            }
            else if (!sequence.IsRetired)
            {
                _scheduler.Retire(sequence);
                sequence.Request!.Finish(FinishReason.Cancelled);
            }
        }
        return !_commands.Reader.Completion.IsCompleted;
    }

    private EngineStep? Start(EngineStep step, bool mayPreempt)
    {
        step.Started = Stopwatch.GetTimestamp();
        if (_budgetController is not null) _scheduler.TokenBudget = _budgetController.BudgetFor(_scheduler.RunningCount);
        if (!_scheduler.Schedule(step.Work, mayPreempt) || step.Work.Count == 0) return null;
        try
        {
            _runner.Submit(step);
        }
        catch (Exception exception) when (exception is not DeviceLostException)
        {
            Fail(step, exception);
            return null;
        }
        _stepCount++;
        foreach ((Sequence sequence, int tokens, bool draws) in step.Work)
        {
            sequence.Submitted(tokens, draws);
            _computedTokens += tokens;
            sequence.Request!.Start(step.Started);
        }
        return step;
    }

    private void Finish(EngineStep step)
    {
        try
        {
            _runner.Collect(step);
        }
        catch (Exception exception) when (exception is not DeviceLostException)
        {
            Fail(step, exception);
            _scheduler.Collected(step.Work);
            return;
        }

        int row = 0;
        foreach ((Sequence sequence, _, bool draws) in step.Work)
        {
            if (draws) Append(sequence, step, row++);
        }
        _scheduler.Collected(step.Work);
    }

    // A step that started before the last one ended takes from end to end. Where a backend runs a step as it is submitted, that is the next step's
    // time: so both must be full.
    private void ObserveDuration(EngineStep step, EngineStep? next)
    {
        if (_budgetController is null) return;
        long before = _lastEnd, end = _lastEnd = Stopwatch.GetTimestamp();
        int tokens = step.Batch.TokenCount;
        if (next is null || step.Started > before || !_budgetController.IsFull(tokens) || !_budgetController.IsFull(next.Batch.TokenCount)) return;
        _budgetController.Observe(tokens, Stopwatch.GetElapsedTime(before, end));
    }

    private void Append(Sequence sequence, EngineStep step, int row)
    {
        // The token after a stop: its step had started before the stop was known.
        if (sequence.IsRetired) return;

        GenerationRequest request = sequence.Request!;
        int token = step.Drawn[row], wanted = sequence.Sampling.LogProbabilities;
        if (token < 0)
        {
            int position = sequence.TokenCount - sequence.DrawsInFlight;
            End(sequence, new GenerationException($"No token can be drawn at position {position}: the logits hold NaN or no finite value. At fault is the checkpoint, its data type ({_shape.WeightType}), or a request whose penalties or suppressed stop tokens leave nothing."));
            return;
        }

        sequence.EndDraw(token);
        if (wanted == 0) request.Publish(token);
        else request.Publish(token, TokenLogProbabilities.FromRow(step.LogProbabilities.AsSpan(row * RaggedBatch.LogProbabilitiesPerRow, Math.Min(wanted, 1 + _shape.VocabularySize))));
        _generatedTokens++;
        bool stops = Array.IndexOf(sequence.StopTokens, token) >= 0;
        if (!stops && sequence.TokenCount - sequence.DrawsInFlight < sequence.MaxTokens) return;
        _scheduler.Retire(sequence);
        request.Finish(stops ? FinishReason.Stop : FinishReason.Length);
    }

    private void Fail(EngineStep step, Exception exception)
    {
        Report(() => Log.StepFailed(_logger, step.Work.Count, exception));
        foreach ((Sequence sequence, _, _) in step.Work) End(sequence, new GenerationException($"The step that held this request failed: {exception.Message}", exception));
    }

    // A logger is the caller's: what it throws must not end the engine's thread, and the process with it.
    private static void Report(Action log)
    {
        try
        {
            log();
        }
        catch (Exception)
        {
        }
    }

    private void FailAll(Exception exception)
    {
        foreach (Sequence sequence in (Sequence[])[.. _scheduler.Running, .. _scheduler.Waiting]) End(sequence, exception);
        while (_commands.Reader.TryRead(out Command command)) command.Sequence.Request!.Fail(exception);
    }

    private void End(Sequence sequence, Exception exception)
    {
        if (sequence.IsRetired) return;
        _scheduler.Retire(sequence);
        sequence.Request!.Fail(exception);
    }
}
