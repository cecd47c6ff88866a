using FastGen.Compute;

namespace FastGen.Tests.Kernels;

/// <summary>Sequences that grow from batch to batch in a cache whose blocks lie scattered.</summary>
public sealed class PagedSequences
{
    private readonly int[] _lengths;
    private readonly int[][] _tables;
    private readonly int[] _sentBlocks;

    public PagedSequences(int slots, int blockSize, int blocksPerSequence, int tokens)
    {
        Limits = new StepLimits(tokens, slots, blockSize, blocksPerSequence);
        _lengths = new int[slots];
        _sentBlocks = new int[slots];
        // Neighbouring blocks of a sequence lie far apart, and none begins at block 0.
        _tables = [.. Enumerable.Range(0, slots).Select(slot => Enumerable.Range(0, blocksPerSequence).Select(i => 1 + slot + ((blocksPerSequence - 1 - i) * slots)).ToArray())];
        Batch = new RaggedBatch(Limits);
    }

    public StepLimits Limits { get; }

    public int Blocks => 1 + (Limits.Sequences * Limits.BlocksPerSequence);

    public RaggedBatch Batch { get; }

    public int Length(int slot) => _lengths[slot];

    /// <summary>Fills the batch with the next tokens of some sequences; logits are wanted of the last one of each.</summary>
    public RaggedBatch Next(params (int Slot, int[] Tokens)[] parts)
    {
        Batch.Clear();
        foreach ((int slot, int[] tokens) in parts)
        {
            int end = _lengths[slot] + tokens.Length;
            for (; _sentBlocks[slot] * Limits.BlockSize < end; _sentBlocks[slot]++) Batch.SetBlock(slot, _sentBlocks[slot], _tables[slot][_sentBlocks[slot]]);
            Batch.AddSequence(slot, tokens, _lengths[slot], _tables[slot]);
            Batch.AddLogitRow();
            _lengths[slot] = end;
        }
        return Batch;
    }

    /// <summary>The same with tokens that do not matter.</summary>
    public RaggedBatch Next(params (int Slot, int Count)[] parts) => Next([.. parts.Select(part => (part.Slot, new int[part.Count]))]);
}
