using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Kernels;

/// <summary>What each slot keeps from step to step on the host: its blocks, its last drawn id, how it samples and what it has seen.</summary>
internal sealed class SlotStates
{
    private readonly int _vocabularySize, _maxContext, _blocksPerSequence;
    private readonly int[] _blockTables, _lastDrawn;
    private readonly SlotSampling[] _sampling;
    private readonly PenaltyCounts?[] _penalties;

    public SlotStates(ModelShape shape, StepLimits limits)
    {
        _vocabularySize = shape.VocabularySize;
        _maxContext = shape.MaxContext;
        _blocksPerSequence = limits.BlocksPerSequence;
        _blockTables = GC.AllocateArray<int>(limits.Sequences * limits.BlocksPerSequence, pinned: true);
        _lastDrawn = new int[limits.Sequences];
        _sampling = new SlotSampling[limits.Sequences];
        Array.Fill(_sampling, new SlotSampling { TopP = 1, RepetitionPenalty = 1 });
        _penalties = new PenaltyCounts?[limits.Sequences];
    }

    /// <summary>Takes over what <paramref name="batch"/> changes, and counts its tokens where a slot has penalties.</summary>
    public void Update(RaggedBatch batch)
    {
        foreach ((int slot, SlotSampling sampling) in batch.SamplingUpdates)
        {
            _sampling[slot] = sampling;
            if (!sampling.HasPenalties) continue;
            (_penalties[slot] ??= new PenaltyCounts(_vocabularySize, _maxContext)).Clear();
        }
        ReadOnlySpan<int> updates = batch.BlockUpdates;
        for (int i = 0; i < updates.Length; i += 3) _blockTables[(updates[i] * _blocksPerSequence) + updates[i + 1]] = updates[i + 2];
        for (int sequence = 0; sequence < batch.SequenceCount; sequence++)
        {
            int slot = batch.SequenceSlots[sequence];
            if (!_sampling[slot].HasPenalties) continue;
            for (int row = batch.Starts[sequence]; row < batch.Starts[sequence + 1]; row++)
            {
                _penalties[slot]!.Count(Resolve(batch.Tokens[row]), isOutput: batch.Positions[row] >= _sampling[slot].PromptLength);
            }
        }
    }

    /// <summary>The id that a batch's token stands for: itself, or for a complement the id last drawn in that slot.</summary>
    public int Resolve(int token) => token >= 0 ? token : _lastDrawn[~token];

    /// <summary>Blocks of the sequence in <paramref name="slot"/>, by position / block size.</summary>
    public ReadOnlySpan<int> BlockTable(int slot) => _blockTables.AsSpan(slot * _blocksPerSequence, _blocksPerSequence);

    /// <summary>All block tables, pinned, a row for each slot.</summary>
    public ref int BlockTables => ref MemoryMarshal.GetArrayDataReference(_blockTables);

    /// <summary>Entries in a slot's row of <see cref="BlockTables"/>.</summary>
    public int BlocksPerSequence => _blocksPerSequence;

    public ref readonly SlotSampling Sampling(int slot) => ref _sampling[slot];

    /// <summary>Whether a logit row of <paramref name="batch"/> asks for log probabilities.</summary>
    public bool WantsLogProbabilities(RaggedBatch batch)
    {
        foreach (int slot in batch.LogitSlots)
        {
            if (_sampling[slot].LogProbabilities > 0) return true;
        }
        return false;
    }

    /// <summary>What the slot's sequence holds; null without penalties.</summary>
    public PenaltyCounts? Penalties(int slot) => _sampling[slot].HasPenalties ? _penalties[slot] : null;

    /// <summary>Keeps the id drawn in <paramref name="slot"/>. A failed draw leaves an id that a step already queued may embed.</summary>
    public void SetLastDrawn(int slot, int token) => _lastDrawn[slot] = Math.Max(token, 0);
}
