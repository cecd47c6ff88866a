using System.Diagnostics;

namespace FastGen;

/// <summary>A share of a step: the next <paramref name="Tokens"/> tokens of a sequence.</summary>
/// <param name="Sequence">Whose tokens.</param>
/// <param name="Tokens">How many.</param>
/// <param name="Draws">True if they are its last known ones, so that the next is drawn from their logits.</param>
internal readonly record struct ScheduledSequence(Sequence Sequence, int Tokens, bool Draws);

/// <summary>The bounds that a scheduler keeps.</summary>
/// <param name="TokenBudget">Tokens a step, at most and at first.</param>
/// <param name="MaxSequences">Sequences that run at once.</param>
/// <param name="CacheWindow">Tokens that the farthest-seeing layer sees; 0 for all.</param>
/// <param name="WatermarkBlocks">Blocks that newcomers leave free for those who run.</param>
/// <param name="StreamingTokenBudget">Tokens a step while somebody reads tokens as they come; 0 for no difference.</param>
/// <param name="BacklogTokenBudget">The same while many prompts wait; 0 for no difference.</param>
/// <param name="SplitFuse">False for whole prompts in steps of their own, while decodes wait; the budget must hold the longest.</param>
internal sealed record SchedulerLimits(int TokenBudget, int MaxSequences, int CacheWindow = 0, int WatermarkBlocks = 0, int StreamingTokenBudget = 0, int BacklogTokenBudget = 0, bool SplitFuse = true);

/// <summary>
/// Dynamic SplitFuse (DeepSpeed-FastGen, Holmes et al. 2024) in one loop: every step spends one token budget on sequences catching up, in the
/// order of their admission. Only the youngest can be mid-prompt, so decode tokens come first, prompt chunks fill the rest, and at most one
/// prompt is cut. When blocks run out the youngest sequence restarts later as a longer prompt (recomputation, Kwon et al. 2023).
/// Who waits is admitted by the earliest deadline: <see cref="PromptRate"/> says when a prompt's first token is due, so that short prompts pass
/// long ones, but only those that came little later.
/// </summary>
internal sealed class Scheduler
{
    /// <summary>Prompt tokens a second by which a first token is due: the service target of DeepSpeed-FastGen. A prompt can be passed by shorter ones that come within its length over this.</summary>
    public const int PromptRate = 512;

    /// <summary>Steps of waiting prompts from which on throughput counts for more than the time between tokens; fewer where the running ones' decodes take a tenth of a streaming step.</summary>
    private const int BacklogSteps = 16, BusyBacklogSteps = 2, BusyShare = 10;

    /// <summary>Waiting sequences behind the first that are looked at in one step, so that a long queue costs a step nothing.</summary>
    private const int Lookahead = 16;

    /// <summary>Later arrivals that may pass a waiting sequence which does not fit yet; then all wait for it. None passes one that restarts: it ran before they came.</summary>
    private const int MaxBypasses = 64;

    private readonly BlockAllocator _blocks;
    private readonly SchedulerLimits _limits;
    private readonly LinkedList<Sequence> _waiting = [];
    private readonly List<Sequence> _running;
    private readonly Stack<int> _freeSlots;

    public Scheduler(BlockAllocator blocks, SchedulerLimits limits)
    {
        _blocks = blocks;
        _limits = limits;
        TokenBudget = limits.TokenBudget;
        _running = new List<Sequence>(limits.MaxSequences);
        _freeSlots = new Stack<int>(limits.MaxSequences);
        for (int slot = limits.MaxSequences - 1; slot >= 0; slot--) _freeSlots.Push(slot);
    }

    /// <summary>Tokens that a step may hold; never above the limit that the scheduler was made with.</summary>
    public int TokenBudget { get; set; }

    /// <summary>
    /// Tokens that the next step may hold. While somebody waits for a next token it is the streaming budget, under which it comes sooner, or the backlog's where the prompts that
    /// wait fill many steps, or where many run a few, or where decodes fill half of it; else all.
    /// </summary>
    public int StepBudget
    {
        get
        {
            int backlog = _limits.BacklogTokenBudget == 0 ? TokenBudget : Math.Min(TokenBudget, _limits.BacklogTokenBudget), streaming = Math.Min(backlog, _limits.StreamingTokenBudget);
            if (streaming == 0 || RunningCount > backlog / 2 || !IsStreaming()) return TokenBudget;
            int steps = RunningCount > streaming / BusyShare ? BusyBacklogSteps : BacklogSteps;
            return WaitingTokens > steps * (long)backlog || RunningCount > streaming / 2 ? backlog : streaming;
        }
    }

    /// <summary>Tokens of all that wait.</summary>
    public long WaitingTokens { get; private set; }

    public int WaitingCount => _waiting.Count;

    public int RunningCount => _running.Count;

    public long Preemptions { get; private set; }

    /// <summary>In the order of their admission.</summary>
    public IReadOnlyList<Sequence> Running => _running;

    public IEnumerable<Sequence> Waiting => _waiting;

    public void Add(Sequence sequence)
    {
        LinkedListNode<Sequence>? before = _waiting.Last;
        while (before is not null && before.Value.Deadline > sequence.Deadline) before = before.Previous;
        if (before is null) _waiting.AddFirst(sequence.Node);
        else _waiting.AddAfter(before, sequence.Node);
        WaitingTokens += sequence.PendingTokens;
    }

    /// <summary>Most blocks that a sequence of <paramref name="tokens"/> tokens owns at once: with a window, old blocks are given back two steps later.</summary>
    public int PeakBlocks(int tokens)
    {
        int all = _blocks.BlocksFor(tokens);
        return _limits.CacheWindow == 0 ? all : Math.Min(all, _blocks.BlocksFor(_limits.CacheWindow + (2 * _limits.TokenBudget)) + 1);
    }

    /// <summary>Fills <paramref name="step"/> with the next step's work. Each chosen sequence owns blocks for its new tokens.</summary>
    /// <param name="step">Emptied first.</param>
    /// <param name="mayPreempt">False while a step is in flight: its draws must be known before a sequence can restart.</param>
    /// <returns>False if nobody can go on before the step in flight is collected.</returns>
    public bool Schedule(List<ScheduledSequence> step, bool mayPreempt)
    {
        step.Clear();
        int budget = StepBudget;
        bool starved = false;
        RestartOutgrown();
        if (!_limits.SplitFuse)
        {
            Admit(step, ref budget);
            if (step.Count > 0) return true;
        }
        for (int i = 0; i < _running.Count && budget > 0; i++)
        {
            Sequence sequence = _running[i];
            if (sequence.PendingTokens == 0 || sequence.HasOutgrownRotation) continue;
            while (!TrySchedule(sequence, step, ref budget))
            {
                starved = true;
                if (_running[^1] == sequence) break;
                if (!mayPreempt)
                {
                    step.Clear();
                    return false;
                }
                PreemptYoungest();
            }
        }

        // Admitting now would take the blocks that an older sequence is short of.
        if (!starved && _limits.SplitFuse) Admit(step, ref budget);
        return true;
    }

    /// <summary>Records that the step was collected: gives back what only it still used.</summary>
    public void Collected(List<ScheduledSequence> step)
    {
        foreach ((Sequence sequence, int tokens, _) in step)
        {
            sequence.StepsInFlight--;
            sequence.CollectedTokens += tokens;
            if (sequence.IsRetired) TryFree(sequence);
            else if (_limits.CacheWindow > 0) ReleaseUnseen(sequence);
        }
    }

    /// <summary>Takes a finished, cancelled or failed sequence out. Its blocks and slot are free once no step in flight holds it.</summary>
    public void Retire(Sequence sequence)
    {
        if (sequence.IsRetired) return;
        sequence.IsRetired = true;
        if (sequence.Node.List is not null) Leave(sequence);
        else _running.Remove(sequence);
        TryFree(sequence);
    }

    private bool TrySchedule(Sequence sequence, List<ScheduledSequence> step, ref int budget)
    {
        int room = ((_blocks.FreeBlocks + sequence.Blocks.Count) * _blocks.BlockSize) - sequence.ComputedTokens;
        int tokens = Math.Min(Math.Min(sequence.PendingTokens, budget), room);
        if (tokens <= 0 || !_blocks.TryGrow(sequence.Blocks, sequence.ComputedTokens + tokens)) return false;

        step.Add(new ScheduledSequence(sequence, tokens, tokens == sequence.PendingTokens));
        budget -= tokens;
        return true;
    }

    private void Admit(List<ScheduledSequence> step, ref int budget)
    {
        LinkedListNode<Sequence>? node = _waiting.First;
        for (int seen = 0; node is not null && seen <= Lookahead && budget > 0 && _freeSlots.Count > 0; seen++)
        {
            LinkedListNode<Sequence>? next = node.Next;
            Sequence sequence = node.Value;
            if (Fits(sequence))
            {
                for (LinkedListNode<Sequence>? passed = node.Previous; passed is not null; passed = passed.Previous) passed.Value.Bypasses++;
                Leave(sequence);
                _running.Add(sequence);
                sequence.Slot = _freeSlots.Pop();
                bool scheduled = TrySchedule(sequence, step, ref budget);
                Debug.Assert(scheduled, "A sequence that fits is scheduled.");
                if (!_limits.SplitFuse) return;
            }
            else if (sequence.HasRestarted || sequence.Bypasses >= MaxBypasses)
            {
                return;
            }
            node = next;
        }
    }

    private void Leave(Sequence sequence)
    {
        _waiting.Remove(sequence.Node);
        WaitingTokens -= sequence.PendingTokens;
    }

    private bool Fits(Sequence sequence)
    {
        int watermark = _running.Count == 0 ? 0 : _limits.WatermarkBlocks;
        return PeakBlocks(sequence.PendingTokens) <= _blocks.FreeBlocks - watermark;
    }

    private void RestartOutgrown()
    {
        for (int i = _running.Count - 1; i >= 0; i--)
        {
            Sequence sequence = _running[i];
            // The draw in flight has to be known first; the last one needs no more steps.
            if (sequence.HasOutgrownRotation && sequence.StepsInFlight == 0 && sequence.PendingTokens > 0) Restart(i);
        }
    }

    private void PreemptYoungest()
    {
        Restart(_running.Count - 1);
        Preemptions++;
    }

    private void Restart(int index)
    {
        Sequence sequence = _running[index];
        _running.RemoveAt(index);
        _blocks.Free(sequence.Blocks);
        _freeSlots.Push(sequence.Slot);
        sequence.Restart();
        _waiting.AddFirst(sequence.Node);
        WaitingTokens += sequence.PendingTokens;
    }

    private bool IsStreaming()
    {
        foreach (Sequence sequence in _running)
        {
            if (sequence.IsStreamed && sequence.NewTokens > 0) return true;
        }
        return false;
    }

    // The first token that no collected step computed sees the window that ends with it; what lies before is never read again.
    private void ReleaseUnseen(Sequence sequence) =>
        _blocks.ReleaseBefore(sequence.Blocks, Math.Max(0, sequence.CollectedTokens + 1 - _limits.CacheWindow));

    private void TryFree(Sequence sequence)
    {
        if (sequence.StepsInFlight > 0 || sequence.Slot < 0) return;
        _blocks.Free(sequence.Blocks);
        _freeSlots.Push(sequence.Slot);
        sequence.LeaveSlot();
    }
}
