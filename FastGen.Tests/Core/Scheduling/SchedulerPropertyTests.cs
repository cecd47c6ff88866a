namespace FastGen.Tests;

/// <summary>
/// Random arrivals, lengths, cancellations, budgets, windows and cache sizes, driven as the engine drives them with one step in flight.
/// <c>FASTGEN_SCHEDULER_EVENTS</c> sets the number of events (default 100,000).
/// </summary>
public sealed class SchedulerPropertyTests
{
    private static int Events => int.TryParse(Environment.GetEnvironmentVariable("FASTGEN_SCHEDULER_EVENTS"), out int events) ? events : 100_000;

    [Test]
    public void Schedule_RandomWork_KeepsItsPromises()
    {
        int events = 0, preemptions = 0, cases = 0;
        for (int seed = 0; events < Events; seed++)
        {
            SchedulerDrive drive = new(seed, splitFuse: true);
            drive.Run();
            events += drive.Events;
            preemptions += (int)drive.Scheduler.Preemptions;
            cases++;
        }
        TestContext.Out.WriteLine($"{events} events in {cases} cases, {preemptions} preemptions");
        Assert.That(preemptions, Is.GreaterThan(cases / 10), "The cases are hard enough to preempt.");
    }

    [Test]
    public void Schedule_WholePrompts_KeepsItsPromises()
    {
        int events = 0;
        for (int seed = 0; events < Events / 5; seed++)
        {
            SchedulerDrive drive = new(seed, splitFuse: false);
            drive.Run();
            events += drive.Events;
        }
    }

    [Test]
    public void Schedule_WholePrompts_RunAloneBeforeDecodes()
    {
        BlockAllocator blocks = new(100, 4);
        Scheduler scheduler = new(blocks, new SchedulerLimits(TokenBudget: 64, MaxSequences: 8, SplitFuse: false));
        foreach (int length in (int[])[30, 20, 10]) scheduler.Add(new Sequence(new int[length], length + 2, 4));
        List<ScheduledSequence> step = [];
        List<int[]> steps = [];
        while (scheduler.RunningCount + scheduler.WaitingCount > 0)
        {
            scheduler.Schedule(step, mayPreempt: true);
            steps.Add([.. step.Select(share => share.Tokens)]);
            foreach ((Sequence sequence, int tokens, bool draws) in step)
            {
                sequence.Submitted(tokens, draws);
                sequence.EndDraw(1);
                if (sequence.TokenCount == sequence.MaxTokens) scheduler.Retire(sequence);
            }
            scheduler.Collected(step);
        }
        Assert.That(steps, Is.EqualTo((int[][])[[30], [20], [10], [1, 1, 1]]));
    }

    [Test]
    public void Schedule_ShortPromptsAfterALongOne_PassItOnlyWhileItIsNotDue()
    {
        BlockAllocator blocks = new(1000, 16);
        Scheduler scheduler = new(blocks, new SchedulerLimits(TokenBudget: 100, MaxSequences: 1));
        Sequence Arriving(int at, int length) => new(new int[length], length + 1, 16) { Deadline = at + length };
        Sequence[] sequences = [Arriving(0, 10), Arriving(1, 1000), Arriving(2, 50), Arriving(900, 50), Arriving(960, 50), Arriving(961, 40)];
        foreach (Sequence sequence in sequences) scheduler.Add(sequence);
        List<Sequence> order = [];
        List<ScheduledSequence> step = [];
        while (scheduler.RunningCount + scheduler.WaitingCount > 0)
        {
            scheduler.Schedule(step, mayPreempt: true);
            foreach ((Sequence sequence, int tokens, bool draws) in step)
            {
                if (sequence.ComputedTokens == 0) order.Add(sequence);
                sequence.Submitted(tokens, draws);
                if (!draws) continue;
                sequence.EndDraw(1);
                scheduler.Retire(sequence);
            }
            scheduler.Collected(step);
        }
        Assert.That(order.Select(sequence => Array.IndexOf(sequences, sequence)), Is.EqualTo((int[])[0, 2, 3, 1, 5, 4]));
    }

    [Test]
    public void StepBudget_PromptsQueueUpWhileTokensAreRead_IsTheWholeBudget()
    {
        Scheduler scheduler = new(new BlockAllocator(10_000, 16), new SchedulerLimits(TokenBudget: 100, MaxSequences: 40, StreamingTokenBudget: 40));
        List<ScheduledSequence> step = [];
        Sequence read = new(new int[10], 500, 16);
        scheduler.Add(read);
        Answer(scheduler, read);
        Sequence[] sequences = [.. Enumerable.Range(0, 5).Select(_ => new Sequence(new int[400], 500, 16))];
        foreach (Sequence sequence in sequences) scheduler.Add(sequence);
        Assert.That((scheduler.WaitingTokens, scheduler.StepBudget), Is.EqualTo((2000, 100)), "More than sixteen steps wait.");
        scheduler.Schedule(step, mayPreempt: true);
        Assert.That(step.Sum(share => share.Tokens), Is.EqualTo(100));
        Assert.That((scheduler.WaitingTokens, scheduler.StepBudget), Is.EqualTo((1600, 40)), "Sixteen steps do not.");
        foreach (Sequence sequence in sequences[..3]) scheduler.Retire(sequence);
        Assert.That(scheduler.WaitingTokens, Is.EqualTo(800));
    }

    [Test]
    public void StepBudget_ManyRun_TwoStepsOfPromptsAreAQueue([Values(4, 5)] int running)
    {
        Scheduler scheduler = new(new BlockAllocator(10_000, 16), new SchedulerLimits(TokenBudget: 100, MaxSequences: 40, StreamingTokenBudget: 40));
        for (int i = 0; i < running; i++)
        {
            Sequence read = new(new int[1], 500, 16);
            scheduler.Add(read);
            Answer(scheduler, read);
        }
        scheduler.Add(new Sequence(new int[201], 500, 16));
        Assert.That((scheduler.RunningCount, scheduler.StepBudget), Is.EqualTo((running, running > 4 ? 100 : 40)));
    }

    [Test]
    public void StepBudget_NobodyReadsTokens_IsTheLargest()
    {
        Scheduler scheduler = new(new BlockAllocator(10_000, 16), new SchedulerLimits(TokenBudget: 200, MaxSequences: 40, StreamingTokenBudget: 40, BacklogTokenBudget: 100));
        Sequence unread = new(new int[10], 500, 16) { IsStreamed = false }, read = new(new int[10], 500, 16), waiting = new(new int[1700], 2000, 16);
        List<int> budgets = [scheduler.StepBudget];
        foreach (Sequence sequence in (Sequence[])[unread, read])
        {
            scheduler.Add(sequence);
            Answer(scheduler, sequence);
            budgets.Add(scheduler.StepBudget);
        }
        scheduler.Add(waiting);
        budgets.Add(scheduler.StepBudget);
        scheduler.Retire(read);
        budgets.Add(scheduler.StepBudget);
        Assert.That(budgets, Is.EqualTo((int[])[200, 200, 40, 100, 200]), "Nobody is there; one answers, but is not read; one is read; more than sixteen steps wait; nobody reads again.");
    }

    // Runs its prompt and draws a token.
    private static void Answer(Scheduler scheduler, Sequence sequence)
    {
        List<ScheduledSequence> step = [];
        scheduler.Schedule(step, mayPreempt: true);
        foreach ((Sequence scheduled, int tokens, bool draws) in step) scheduled.Submitted(tokens, draws);
        foreach ((Sequence scheduled, _, bool draws) in step)
        {
            if (draws) scheduled.EndDraw(1);
        }
        scheduler.Collected(step);
        Assert.That(sequence.NewTokens, Is.GreaterThan(0));
    }

    [Test]
    public void Schedule_ThreeBlocksFiftyRequests_AllEnd()
    {
        BlockAllocator blocks = new(3, 4);
        Scheduler scheduler = new(blocks, new SchedulerLimits(TokenBudget: 8, MaxSequences: 8));
        Random random = new(1);
        List<Sequence> all = [.. Enumerable.Range(0, 50).Select(_ => new Sequence(new int[random.Next(1, 9)], 12, 4))];
        foreach (Sequence sequence in all) scheduler.Add(sequence);
        List<ScheduledSequence> step = [];
        for (int steps = 0; scheduler.RunningCount + scheduler.WaitingCount > 0; steps++)
        {
            Assert.That(steps, Is.LessThan(2000));
            Assert.That(scheduler.Schedule(step, mayPreempt: true) && step.Count > 0, "Somebody goes on.");
            foreach ((Sequence sequence, int tokens, bool draws) in step) sequence.Submitted(tokens, draws);
            foreach ((Sequence sequence, _, bool draws) in step)
            {
                if (!draws) continue;
                sequence.EndDraw(7);
                if (sequence.TokenCount == sequence.MaxTokens) scheduler.Retire(sequence);
            }
            scheduler.Collected(step);
        }
        Assert.That(blocks.FreeBlocks, Is.EqualTo(3));
        Assert.That(all.All(s => s.TokenCount == 12));
    }

    [Test]
    public void Schedule_LargeRequestBehindSmallOnes_IsNotStarved()
    {
        BlockAllocator blocks = new(8, 4);
        Scheduler scheduler = new(blocks, new SchedulerLimits(TokenBudget: 32, MaxSequences: 8));
        Sequence large = new(new int[30], 32, 4);
        int smallDone = 0;
        List<ScheduledSequence> step = [];
        scheduler.Add(new Sequence(new int[4], 12, 4));
        scheduler.Add(large);
        for (int steps = 0; !large.IsRetired; steps++)
        {
            Assert.That(steps, Is.LessThan(1000), "The large request runs in the end.");
            if (scheduler.WaitingCount < 3) scheduler.Add(new Sequence(new int[4], 8, 4));
            scheduler.Schedule(step, mayPreempt: true);
            foreach ((Sequence sequence, int tokens, bool draws) in step) sequence.Submitted(tokens, draws);
            foreach ((Sequence sequence, _, bool draws) in step)
            {
                if (!draws) continue;
                sequence.EndDraw(1);
                if (sequence.TokenCount == sequence.MaxTokens) scheduler.Retire(sequence);
                if (sequence.IsRetired && sequence != large) smallDone++;
            }
            scheduler.Collected(step);
        }
        Assert.That(smallDone, Is.GreaterThan(8), "Small requests go past it for a while.");
    }

    [Test]
    public void Schedule_LaterArrivalWhileAPromptRestarts_DoesNotPassIt()
    {
        BlockAllocator blocks = new(8, 4);
        Scheduler scheduler = new(blocks, new SchedulerLimits(TokenBudget: 4, MaxSequences: 8));
        Sequence restarting = new(new int[24], 25, 4), later = new(new int[1], 2, 4);
        bool arrived = false;
        foreach (Sequence sequence in (Sequence[])[new(new int[2], 16, 4), new(new int[2], 16, 4), restarting]) scheduler.Add(sequence);
        List<ScheduledSequence> step = [];
        while (!restarting.IsRetired)
        {
            scheduler.Schedule(step, mayPreempt: true);
            if (later.Slot >= 0) Assert.That(restarting.Slot, Is.Not.Negative, "Who restarts is the first to run again.");
            foreach ((Sequence sequence, int tokens, bool draws) in step)
            {
                sequence.Submitted(tokens, draws);
                if (!draws) continue;
                sequence.EndDraw(1);
                if (sequence.TokenCount == sequence.MaxTokens) scheduler.Retire(sequence);
            }
            scheduler.Collected(step);
            if (scheduler.Preemptions == 0 || arrived) continue;
            scheduler.Add(later);
            arrived = true;
        }
        Assert.That((arrived, scheduler.Preemptions), Is.EqualTo((true, 1)));
    }

    /// <summary>One random case: two steps alternate, and the invariants are checked after each event.</summary>
    private sealed class SchedulerDrive
    {
        private const int LongestSequence = 90;

        private readonly Random _random;
        private readonly BlockAllocator _blocks;
        private readonly SchedulerLimits _limits;
        private readonly List<Sequence> _live = [];
        private readonly Dictionary<Sequence, int> _lastProgress = [];
        private readonly int _blockSize;
        private readonly bool _budgetChanges, _hasDeadlines;
        private readonly int _recomputeBeyond;
        private int _step, _stepBudget;

        public SchedulerDrive(int seed, bool splitFuse)
        {
            _random = new Random(seed);
            _blockSize = _random.Next(1, 9);
            int window = _random.Next(3) == 0 ? _random.Next(1, 30) : 0;
            _blocks = new BlockAllocator(_random.Next(3, 40), _blockSize);
            _limits = new SchedulerLimits(splitFuse ? _random.Next(1, 40) : LongestSequence, _random.Next(1, 12), window, _random.Next(0, 3), splitFuse ? _random.Next(0, 20) : 0, splitFuse ? _random.Next(0, 30) : 0, splitFuse);
            _budgetChanges = splitFuse && _random.Next(2) == 0;
            _hasDeadlines = _random.Next(2) == 0;
            _recomputeBeyond = _random.Next(3) == 0 ? _random.Next(1, LongestSequence) : 0;
            Scheduler = new Scheduler(_blocks, _limits);
        }

        public Scheduler Scheduler { get; }

        public int Events { get; private set; }

        public void Run()
        {
            List<ScheduledSequence> inFlight = [], next = [];
            int arrivals = _random.Next(5, 60);
            while (arrivals > 0 || _live.Count > 0)
            {
                for (int i = _random.Next(3); i > 0 && arrivals > 0; i--, arrivals--) Arrive();
                if (_live.Count > 0 && _random.Next(12) == 0) Cancel(_live[_random.Next(_live.Count)]);

                if (_budgetChanges) Scheduler.TokenBudget = _random.Next(1, _limits.TokenBudget + 1);
                _stepBudget = Scheduler.StepBudget;
                Assert.That(Scheduler.WaitingTokens, Is.EqualTo(Scheduler.Waiting.Sum(sequence => (long)sequence.PendingTokens)));
                bool goesOn = Scheduler.Schedule(next, mayPreempt: inFlight.Count == 0);
                CheckStep(next, goesOn, inFlight.Count > 0);
                foreach ((Sequence sequence, int tokens, bool draws) in next) sequence.Submitted(tokens, draws);
                Collect(inFlight);
                (inFlight, next) = (next, inFlight);
                CheckBlocks();
                _step++;
                Events++;
            }
            Collect(inFlight);
            Assert.That(_blocks.FreeBlocks, Is.EqualTo(_blocks.TotalBlocks), "All blocks are free at the end.");
        }

        private void Arrive()
        {
            int length = _random.Next(1, 60), max = length + _random.Next(1, 30);
            Events++;
            if (Scheduler.PeakBlocks(max) > _blocks.TotalBlocks) return;
            Sequence sequence = new([.. Enumerable.Range(0, length).Select(i => i + 1)], max, _blockSize)
            {
                Deadline = _hasDeadlines ? _step + (2 * length) : 0,
                RecomputeBeyond = _recomputeBeyond,
            };
            _live.Add(sequence);
            _lastProgress[sequence] = _step;
            Scheduler.Add(sequence);
        }

        private void Cancel(Sequence sequence)
        {
            Scheduler.Retire(sequence);
            _live.Remove(sequence);
            Events++;
        }

        private void Collect(List<ScheduledSequence> step)
        {
            foreach ((Sequence sequence, _, bool draws) in step)
            {
                if (!draws || sequence.IsRetired) continue;
                sequence.EndDraw(5);
                _lastProgress[sequence] = _step;
                if (sequence.TokenCount - sequence.DrawsInFlight < sequence.MaxTokens && _random.Next(30) > 0) continue;
                Scheduler.Retire(sequence);
                _live.Remove(sequence);
            }
            Scheduler.Collected(step);
            step.Clear();
        }

        private void CheckStep(List<ScheduledSequence> step, bool goesOn, bool otherInFlight)
        {
            int tokens = step.Sum(share => share.Tokens);
            Assert.That(tokens, Is.LessThanOrEqualTo(_stepBudget), "The budget is never exceeded.");
            if (!_limits.SplitFuse) Assert.That(step.TrueForAll(share => share.Draws && (share.Tokens == 1 || step.Count == 1)), "Prompts run whole, in steps of their own.");
            Assert.That(step.Select(share => share.Sequence).Distinct().Count(), Is.EqualTo(step.Count), "A sequence has one share of a step.");
            Assert.That(Scheduler.RunningCount, Is.LessThanOrEqualTo(_limits.MaxSequences));
            Assert.That(Scheduler.Running.Select(s => s.Slot).Distinct().Count(), Is.EqualTo(Scheduler.RunningCount), "Slots are not shared.");
            Assert.That(step.Count(share => share.Tokens < share.Sequence.PendingTokens), Is.LessThanOrEqualTo(1), "At most one sequence is cut.");
            foreach (ScheduledSequence share in step)
            {
                Assert.That(share.Draws, Is.EqualTo(share.Tokens == share.Sequence.PendingTokens));
                Assert.That(share.Sequence.HasOutgrownRotation, Is.False, "What is computed is rotated for the whole text's length.");
                Assert.That(share.Sequence.Blocks.Count * _blockSize, Is.GreaterThanOrEqualTo(share.Sequence.ComputedTokens + share.Tokens), "New tokens have blocks.");
            }
            if (!goesOn)
            {
                Assert.That(otherInFlight, "Only a step in flight makes the scheduler wait.");
                return;
            }
            if (!otherInFlight && _live.Count > 0) Assert.That(tokens, Is.GreaterThan(0), "Somebody always goes on.");
            bool couldUse = _limits.SplitFuse && Scheduler.Running.Any(s => s.PendingTokens > 0 && !s.HasOutgrownRotation && !step.Any(share => share.Sequence == s) && (_blocks.FreeBlocks + s.Blocks.Count) * _blockSize > s.ComputedTokens);
            if (tokens < _stepBudget) Assert.That(couldUse, Is.False, "No budget is left while someone who runs could use it.");
            Assert.That(Scheduler.Waiting.Select(sequence => sequence.Deadline), Is.Ordered.Ascending, "Who is due first waits first, and who had to restart before all.");
            foreach (Sequence sequence in _live)
            {
                int waitedFor = _live.Sum(s => s.MaxTokens) + (70 * 90);
                Assert.That(_step - _lastProgress[sequence], Is.LessThan(4 * waitedFor), "Nobody starves.");
            }
        }

        private void CheckBlocks()
        {
            HashSet<int> owned = [];
            int count = 0;
            foreach (Sequence sequence in Scheduler.Running)
            {
                foreach (int block in sequence.Blocks.Entries[sequence.Blocks.Released..])
                {
                    Assert.That(owned.Add(block), "A block has one owner.");
                    count++;
                }
            }
            Assert.That(count, Is.LessThanOrEqualTo(_blocks.UsedBlocks));
            foreach (Sequence sequence in Scheduler.Waiting) Assert.That(sequence.Blocks.Owned, Is.Zero, "Who waits owns nothing.");
        }
    }
}
