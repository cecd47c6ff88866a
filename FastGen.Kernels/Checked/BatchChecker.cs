using FastGen.Compute;

namespace FastGen.Kernels;

/// <summary>Follows the block tables of all slots and finds what is wrong with a batch.</summary>
internal sealed class BatchChecker(ModelShape shape, StepLimits limits)
{
    private readonly int[] _blockTables = new int[limits.Sequences * limits.BlocksPerSequence];
    private readonly HashSet<int> _slots = [];

    /// <summary>What is wrong with <paramref name="batch"/>, or null; takes over its block updates.</summary>
    public string? Fault(RaggedBatch batch)
    {
        if (batch.TokenCount > limits.Tokens || batch.SequenceCount > limits.Sequences) return $"the batch has {batch.TokenCount} tokens of {batch.SequenceCount} sequences; the limits are {limits}";
        if (batch.TokenCount == 0) return "the batch is empty";
        if (UpdateFault(batch) is { } update) return update;
        _slots.Clear();
        for (int sequence = 0; sequence < batch.SequenceCount; sequence++)
        {
            if (SequenceFault(batch, sequence) is { } fault) return fault;
        }
        return LogitFault(batch);
    }

    private string? UpdateFault(RaggedBatch batch)
    {
        ReadOnlySpan<int> updates = batch.BlockUpdates;
        for (int i = 0; i < updates.Length; i += 3)
        {
            (int slot, int index, int block) = (updates[i], updates[i + 1], updates[i + 2]);
            if (!IsSlot(slot) || index < 0 || index >= limits.BlocksPerSequence || block < 0) return $"block update {i / 3} sets entry {index} of slot {slot} to block {block}; the limits are {limits}";
            _blockTables[(slot * limits.BlocksPerSequence) + index] = block;
        }
        foreach ((int slot, SlotSampling sampling) in batch.SamplingUpdates)
        {
            if (!IsSlot(slot)) return $"sampling parameters are sent to slot {slot} of {limits.Sequences}";
            if (!(sampling.RepetitionPenalty > 0) || !(sampling.Temperature >= 0) || sampling.LogProbabilities is < 0 or > RaggedBatch.LogProbabilitiesPerRow) return $"slot {slot} is sent {sampling}";
        }
        return null;
    }

    private string? SequenceFault(RaggedBatch batch, int sequence)
    {
        int slot = batch.SequenceSlots[sequence], start = batch.Starts[sequence], end = batch.Starts[sequence + 1];
        if (!IsSlot(slot) || !_slots.Add(slot)) return $"sequence {sequence} has slot {slot}, which another has or which is not below {limits.Sequences}";
        if (end <= start || end > batch.TokenCount) return $"sequence {sequence} has rows {start} to {end} of {batch.TokenCount}";
        int context = batch.ContextLengths[sequence];
        if (context != batch.Positions[end - 1] + 1) return $"sequence {sequence} has a context of {context} and ends at position {batch.Positions[end - 1]}";
        if (context > limits.BlocksPerSequence * limits.BlockSize) return $"sequence {sequence} has a context of {context}, more than {limits.BlocksPerSequence} blocks of {limits.BlockSize} hold";
        for (int row = start; row < end; row++)
        {
            if (RowFault(batch, row, sequence, slot, batch.Positions[start] + row - start) is { } fault) return $"row {row} of sequence {sequence}: {fault}";
        }
        return null;
    }

    private string? RowFault(RaggedBatch batch, int row, int sequence, int slot, int position)
    {
        int token = batch.Tokens[row];
        if (token >= shape.VocabularySize || (token < 0 && !IsSlot(~token))) return $"token {token} is neither below {shape.VocabularySize} nor the complement of a slot below {limits.Sequences}";
        if (batch.RowSequences[row] != sequence) return $"it is marked as of sequence {batch.RowSequences[row]}";
        if (batch.Positions[row] != position || position < 0) return $"its position is {batch.Positions[row]}, not {position}";
        int block = _blockTables[(slot * limits.BlocksPerSequence) + (position / limits.BlockSize)], place = (block * limits.BlockSize) + (position % limits.BlockSize);
        return batch.KvSlots[row] == place ? null : $"its key goes to place {batch.KvSlots[row]}, but slot {slot} keeps position {position} at place {place} (block {block})";
    }

    private string? LogitFault(RaggedBatch batch)
    {
        int last = -1;
        for (int i = 0; i < batch.LogitRowCount; i++)
        {
            int row = batch.LogitRows[i];
            if (row <= last || row >= batch.TokenCount) return $"logit row {i} is row {row}, after row {last}, of {batch.TokenCount}";
            if (batch.LogitSlots[i] != batch.SequenceSlots[batch.RowSequences[row]]) return $"logit row {i} belongs to slot {batch.LogitSlots[i]}, its row to slot {batch.SequenceSlots[batch.RowSequences[row]]}";
            if (batch.LogitPositions[i] != batch.Positions[row] + 1) return $"logit row {i} draws position {batch.LogitPositions[i]} after position {batch.Positions[row]}";
            last = row;
        }
        foreach (int token in batch.SuppressedTokens)
        {
            if (token < 0 || token >= shape.VocabularySize) return $"token {token} is suppressed, but the vocabulary has {shape.VocabularySize}";
        }
        return null;
    }

    private bool IsSlot(int slot) => slot >= 0 && slot < limits.Sequences;
}
