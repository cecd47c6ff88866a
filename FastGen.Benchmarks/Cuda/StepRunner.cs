using System.Diagnostics;
using FastGen.Compute;

namespace FastGen.Benchmarks.Cuda;

/// <summary>Runs steps of a model as an engine would: prompts cut to the token budget, then decodes with one step in flight.</summary>
internal sealed class StepRunner
{
    private const int TokensBeyondPrompt = 256;

    private readonly IBackend _backend;
    private readonly CausalLM _model;
    private readonly KvCache _cache;
    private readonly Activations _buffers;
    private readonly StepLimits _limits;
    private readonly RaggedBatch[] _batches;
    private readonly int[][] _blocks;
    private readonly int[] _allBlocks, _lengths, _drawn;
    private readonly Action<int, int>[] _forwards;
    private int _turn;

    public StepRunner(IBackend backend, CausalLM model, StepLimits limits, int cachedTokens)
    {
        (_backend, _model, _limits) = (backend, model, limits);
        backend.Prepare(model.Shape, limits);
        int blocks = cachedTokens / limits.BlockSize;
        _cache = new KvCache(backend, model.Shape, DType.BF16, blocks, limits.BlockSize);
        _buffers = new Activations(backend, model.Shape, limits);
        _batches = [new RaggedBatch(limits), new RaggedBatch(limits)];
        _allBlocks = [.. Enumerable.Range(0, blocks)];
        new Random(2).Shuffle(_allBlocks);
        _blocks = new int[limits.Sequences][];
        _lengths = new int[limits.Sequences];
        _drawn = new int[limits.Sequences];
        // One delegate for each batch, the same at every step, so that recorded steps are found again.
        _forwards = [.. _batches.Select(batch => new Action<int, int>((rows, logitRows) => Forward(batch, rows, logitRows)))];
    }

    /// <summary>Seconds to read prompts of <paramref name="length"/> tokens into the first slots, with a token drawn for each.</summary>
    public double Prefill(int sequences, int length)
    {
        // Sequences differ, as they would choose the same experts otherwise.
        int[][] prompts = [.. Enumerable.Range(0, sequences).Select(slot => Enumerable.Range(0, length).Select(i => ((i * 7919) + (slot * 104729) + 11) % _model.Shape.VocabularySize).ToArray())];
        Array.Clear(_lengths, 0, sequences);
        int each = Math.Min((length + TokensBeyondPrompt) / _limits.BlockSize, _limits.BlocksPerSequence);
        for (int i = 0; i < sequences; i++) _blocks[i] = _allBlocks[(i * each)..((i + 1) * each)];
        long start = Stopwatch.GetTimestamp(), previous = 0;
        int previousRows = 0, slot = 0;
        while (slot < sequences)
        {
            RaggedBatch batch = Next();
            int room = _limits.Tokens;
            while (room > 0 && slot < sequences && batch.SequenceCount < _limits.Sequences)
            {
                int count = Math.Min(room, length - _lengths[slot]);
                Add(batch, slot, prompts[slot].AsSpan(_lengths[slot], count), last: _lengths[slot] + count == length);
                room -= count;
                if (_lengths[slot] == length) slot++;
            }
            (previous, previousRows) = Submit(batch, previous, previousRows);
        }
        _backend.Collect(previous, _drawn.AsSpan(0, previousRows));
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Seconds of <paramref name="steps"/> decode steps of the first <paramref name="sequences"/> slots.</summary>
    public double Decode(int sequences, int steps)
    {
        long start = Stopwatch.GetTimestamp(), previous = 0;
        int previousRows = 0;
        for (int step = 0; step < steps; step++)
        {
            RaggedBatch batch = Next();
            for (int slot = 0; slot < sequences; slot++) Add(batch, slot, [~slot], last: true);
            (previous, previousRows) = Submit(batch, previous, previousRows);
        }
        _backend.Collect(previous, _drawn.AsSpan(0, previousRows));
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Sets lengths back, so that the next decode starts from a context again.</summary>
    public void Rewind(int sequences, int length) => Array.Fill(_lengths, length, 0, sequences);

    /// <summary>Ids drawn by the step collected last.</summary>
    public ReadOnlySpan<int> Drawn => _drawn;

    private RaggedBatch Next()
    {
        RaggedBatch batch = _batches[_turn ^= 1];
        batch.Clear();
        return batch;
    }

    private void Add(RaggedBatch batch, int slot, ReadOnlySpan<int> tokens, bool last)
    {
        int from = _lengths[slot], to = from + tokens.Length, size = _limits.BlockSize;
        if (from == 0) batch.SetSampling(slot, SamplingParameters.Greedy.ForSlot(0, to));
        for (int i = (from + size - 1) / size; i < (to + size - 1) / size; i++) batch.SetBlock(slot, i, _blocks[slot][i]);
        batch.AddSequence(slot, tokens, from, _blocks[slot]);
        if (last) batch.AddLogitRow();
        _lengths[slot] = to;
    }

    private (long Ticket, int Rows) Submit(RaggedBatch batch, long previous, int previousRows)
    {
        long ticket = _backend.Submit(batch, _forwards[_turn]);
        if (previous != 0) _backend.Collect(previous, _drawn.AsSpan(0, previousRows));
        return (ticket, batch.LogitRowCount);
    }

    private void Forward(RaggedBatch batch, int rows, int logitRows)
    {
        _buffers.Resize(rows, logitRows);
        _model.Forward(new ForwardPass(_backend, batch, _cache, _buffers));
        if (_model is not LlamaShapedModel shaped || shaped.Operations.HasFlag(Operations.Sample)) _backend.Sample(_buffers.Logits, batch);
    }
}
