using FastGen.Compute;

namespace FastGen.Tests;

/// <summary>
/// A device that computes nothing but remembers what a real one would: which token lies in which cache slot. A draw is a hash of the tokens
/// that the drawing row can see through its block table, so that any slip of scheduling or cache handling changes the output.
/// Steps run when they are collected, as late as the waist allows.
/// </summary>
internal sealed class SimulatedBackend : NullBackend
{
    private readonly Queue<(long Ticket, RaggedBatch Batch)> _queued = new();
    private readonly Dictionary<long, int[]> _results = [];
    private (int Token, int Position)[] _cache = [];
    private int[,] _blockTables = new int[0, 0];
    private int[] _drawn = [], _collected = [];
    private int _blockSize;
    private long _tickets;

    /// <summary>Called before a step's results are given; throws to simulate a fault there.</summary>
    public Action? OnCollect { get; set; }

    /// <summary>Called with each step that runs.</summary>
    public Action<RaggedBatch>? OnStep { get; set; }

    public int UncollectedSteps => _queued.Count + _results.Count;

    public override KvLayer AllocateKvLayer(DType type, int blocks, int blockSize, int kvHeads, int headDim)
    {
        _blockSize = blockSize;
        _cache = new (int, int)[blocks * blockSize];
        Array.Fill(_cache, (-1, -1));
        return new KvLayer(new Tensor(0, type, blocks, 0), blockSize, kvHeads, headDim);
    }

    public override void Prepare(ModelShape shape, StepLimits limits)
    {
        _blockTables = new int[limits.Sequences, limits.BlocksPerSequence];
        _drawn = new int[limits.Sequences];
    }

    public override long Submit(RaggedBatch batch, Action<int, int> forward)
    {
        OnSubmit?.Invoke();
        if (UncollectedSteps > 1) throw new InvalidOperationException("At most one other step may be uncollected.");
        _queued.Enqueue((_tickets, batch));
        forward(batch.TokenCount, batch.LogitRowCount);
        return _tickets++;
    }

    public override void Collect(long ticket, Span<int> tokens)
    {
        while (_queued.TryPeek(out (long Ticket, RaggedBatch Batch) step) && step.Ticket <= ticket)
        {
            _queued.Dequeue();
            _results[step.Ticket] = Run(step.Batch);
        }
        _results.Remove(ticket, out int[]? drawn);
        OnCollect?.Invoke();
        drawn.CopyTo(tokens);
        _collected = drawn!;
    }

    /// <summary>Each logit row gets the log probability of the token that it drew, and that of its neighbours.</summary>
    public override void CollectLogProbabilities(long ticket, Span<TokenLogProbability> target)
    {
        for (int row = 0; row < _collected.Length; row++)
        {
            for (int k = 0; k < RaggedBatch.LogProbabilitiesPerRow; k++) target[(row * RaggedBatch.LogProbabilitiesPerRow) + k] = new TokenLogProbability(_collected[row] + k, LogProbability(_collected[row] + k));
        }
    }

    /// <summary>What <see cref="CollectLogProbabilities"/> gives for a token.</summary>
    public static float LogProbability(int token) => -0.001f * token;

    /// <summary>The token that follows <paramref name="tokens"/>.</summary>
    public int Next(IReadOnlyList<int> tokens)
    {
        int first = Window == 0 ? 0 : Math.Max(0, tokens.Count - Window);
        uint hash = 2166136261;
        for (int i = first; i < tokens.Count; i++) hash = Mix(hash, tokens[i], i);
        return (int)(hash % (uint)VocabularySize);
    }

    private int[] Run(RaggedBatch batch)
    {
        OnStep?.Invoke(batch);
        for (int i = 0; i < batch.BlockUpdateCount; i++)
        {
            ReadOnlySpan<int> update = batch.BlockUpdates.Slice(3 * i, 3);
            _blockTables[update[0], update[1]] = update[2];
        }
        for (int row = 0; row < batch.TokenCount; row++)
        {
            int token = batch.Tokens[row], sequence = batch.RowSequences[row], position = batch.Positions[row];
            int slot = batch.SequenceSlots[sequence];
            int place = (_blockTables[slot, position / _blockSize] * _blockSize) + (position % _blockSize);
            Assert.That(batch.KvSlots[row], Is.EqualTo(place), "The batch and the slot's block table name the same place.");
            _cache[place] = (token >= 0 ? token : _drawn[~token], position);
        }
        int[] drawn = new int[batch.LogitRowCount];
        for (int i = 0; i < drawn.Length; i++)
        {
            int position = batch.Positions[batch.LogitRows[i]], slot = batch.LogitSlots[i];
            uint hash = 2166136261;
            for (int p = Window == 0 ? 0 : Math.Max(0, position + 1 - Window); p <= position; p++)
            {
                (int token, int at) = _cache[(_blockTables[slot, p / _blockSize] * _blockSize) + (p % _blockSize)];
                if (at != p) throw new InvalidOperationException($"Slot {slot} sees position {at} where {p} should lie.");
                hash = Mix(hash, token, p);
            }
            drawn[i] = (int)(hash % (uint)VocabularySize);
        }
        for (int i = 0; i < drawn.Length; i++) _drawn[batch.LogitSlots[i]] = drawn[i];
        return drawn;
    }

    private static uint Mix(uint hash, int token, int position) => unchecked((((hash ^ (uint)token) * 16777619) ^ (uint)position) * 16777619);
}

/// <summary>A model for <see cref="SimulatedBackend"/>: one layer, no weights.</summary>
internal sealed class SimulatedModel(SimulatedBackend backend, int maxContext = 256) : NullModel(backend, maxContext)
{
    /// <summary>What a request must give: greedy continuation, cut at a stop token or at the length.</summary>
    public List<int> Expected(IReadOnlyList<int> prompt, int maxNewTokens, IReadOnlyCollection<int> stopTokens)
    {
        List<int> tokens = [.. prompt], generated = [];
        while (generated.Count < maxNewTokens && tokens.Count < Shape.MaxContext)
        {
            int next = ((SimulatedBackend)Backend).Next(tokens);
            tokens.Add(next);
            generated.Add(next);
            if (stopTokens.Contains(next)) break;
        }
        return generated;
    }
}
