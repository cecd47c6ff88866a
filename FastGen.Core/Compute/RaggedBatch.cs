using System.Diagnostics;

namespace FastGen.Compute;

/// <summary>
/// One step's work, flattened: the new tokens of every scheduled sequence laid end to end. A prompt chunk and a decode token
/// differ only in length. Everything lies in one pinned buffer of ints, so that a device gets it in one copy; what a sequence
/// keeps from step to step (block table, last drawn id, sampling parameters) stays with its slot and only changes are sent.
/// </summary>
public sealed class RaggedBatch
{
    /// <summary>Ints before the first section: token, sequence, logit row, block update and suppressed token counts, then padding.</summary>
    public const int HeaderLength = 8;

    /// <summary>Log probabilities that a logit row has room for: the drawn token's and those of the most likely ones.</summary>
    public const int LogProbabilitiesPerRow = 1 + SamplingParameters.MaxTopLogProbabilities;

    private const int BlockUpdateInts = 3;

    private readonly int _tokens, _positions, _rowSequences, _kvSlots;
    private readonly int _sequenceSlots, _starts, _contextLengths, _rotaryBases;
    private readonly int _logitRows, _logitSlots, _logitPositions, _suppressedStarts, _blockUpdates;
    private readonly List<(int Slot, SlotSampling Sampling)> _samplingUpdates;
    private readonly List<int> _suppressed = [];

    /// <summary>Makes a batch with room for <paramref name="limits"/>.</summary>
    public RaggedBatch(StepLimits limits)
    {
        Limits = limits;
        _samplingUpdates = new List<(int, SlotSampling)>(limits.Sequences);
        int end = HeaderLength;
        int Section(int length)
        {
            int start = end;
            end += length;
            return start;
        }

        _tokens = Section(limits.Tokens);
        _positions = Section(limits.Tokens);
        _rowSequences = Section(limits.Tokens);
        _kvSlots = Section(limits.Tokens);
        _sequenceSlots = Section(limits.Sequences);
        _starts = Section(limits.Sequences + 1);
        _contextLengths = Section(limits.Sequences);
        _rotaryBases = Section(limits.Sequences);
        _logitRows = Section(limits.Sequences);
        _logitSlots = Section(limits.Sequences);
        _logitPositions = Section(limits.Sequences);
        _suppressedStarts = Section(limits.Sequences + 1);
        _blockUpdates = end;
        Buffer = GC.AllocateArray<int>(end + (BlockUpdateInts * BlockUpdateCapacity(limits)), pinned: true);
    }

    /// <summary>What the buffer has room for.</summary>
    public StepLimits Limits { get; }

    /// <summary>All sections in one pinned array; the offsets below say where each begins.</summary>
    public int[] Buffer { get; }

    /// <summary>Ints of <see cref="Buffer"/> that this step uses, from its beginning.</summary>
    public int UsedLength => _blockUpdates + (BlockUpdateInts * BlockUpdateCount);

    /// <summary>Rows of this step.</summary>
    public int TokenCount { get => Buffer[0]; private set => Buffer[0] = value; }

    /// <summary>Sequences of this step.</summary>
    public int SequenceCount { get => Buffer[1]; private set => Buffer[1] = value; }

    /// <summary>Rows whose logits are wanted.</summary>
    public int LogitRowCount { get => Buffer[2]; private set => Buffer[2] = value; }

    /// <summary>Block-table entries that changed.</summary>
    public int BlockUpdateCount { get => Buffer[3]; private set => Buffer[3] = value; }

    /// <summary>True if every sequence has one new token, so that the step may be replayed.</summary>
    public bool IsDecode => TokenCount == SequenceCount && LogitRowCount == SequenceCount;

    /// <summary>[rows] Token id, or the complement ~slot for "the id last drawn in that slot".</summary>
    public ReadOnlySpan<int> Tokens => Buffer.AsSpan(_tokens, TokenCount);

    /// <summary>[rows] Position of each token in its sequence, from 0.</summary>
    public ReadOnlySpan<int> Positions => Buffer.AsSpan(_positions, TokenCount);

    /// <summary>[rows] Index, within this batch, of the sequence that each row belongs to.</summary>
    public ReadOnlySpan<int> RowSequences => Buffer.AsSpan(_rowSequences, TokenCount);

    /// <summary>[rows] Place that receives the row's key and value: block · block size + offset.</summary>
    public ReadOnlySpan<int> KvSlots => Buffer.AsSpan(_kvSlots, TokenCount);

    /// <summary>[sequences] Slot of each sequence: its row in the block table and in all state that outlives the step.</summary>
    public ReadOnlySpan<int> SequenceSlots => Buffer.AsSpan(_sequenceSlots, SequenceCount);

    /// <summary>[sequences + 1] Row where each sequence's new tokens begin; the last entry closes the last.</summary>
    public ReadOnlySpan<int> Starts => Buffer.AsSpan(_starts, SequenceCount + 1);

    /// <summary>[sequences] Tokens that the sequence's last new token attends to, itself included.</summary>
    public ReadOnlySpan<int> ContextLengths => Buffer.AsSpan(_contextLengths, SequenceCount);

    /// <summary>[sequences] Added to a position to get its row of the rotary table.</summary>
    public ReadOnlySpan<int> RotaryBases => Buffer.AsSpan(_rotaryBases, SequenceCount);

    /// <summary>[logit rows] Row of the batch that each row of logits is computed from.</summary>
    public ReadOnlySpan<int> LogitRows => Buffer.AsSpan(_logitRows, LogitRowCount);

    /// <summary>[logit rows] Slot that the drawn id belongs to.</summary>
    public ReadOnlySpan<int> LogitSlots => Buffer.AsSpan(_logitSlots, LogitRowCount);

    /// <summary>[logit rows] Position that the drawn token will have; with the seed it fixes the draw.</summary>
    public ReadOnlySpan<int> LogitPositions => Buffer.AsSpan(_logitPositions, LogitRowCount);

    /// <summary>[logit rows + 1] Where each logit row's entries of <see cref="SuppressedTokens"/> begin.</summary>
    public ReadOnlySpan<int> SuppressedStarts => Buffer.AsSpan(_suppressedStarts, LogitRowCount + 1);

    /// <summary>Token ids that must not be drawn (stop tokens before the wanted minimum), grouped by logit row; mostly empty.</summary>
    public ReadOnlySpan<int> SuppressedTokens => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_suppressed);

    /// <summary>Block-table entries to set before the step: triples of slot, index in the slot's row, block.</summary>
    public ReadOnlySpan<int> BlockUpdates => Buffer.AsSpan(_blockUpdates, BlockUpdateInts * BlockUpdateCount);

    /// <summary>Slots that a new sequence takes in this step: their sampling state starts afresh with these parameters.</summary>
    public ReadOnlySpan<(int Slot, SlotSampling Sampling)> SamplingUpdates => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_samplingUpdates);

    /// <summary>Offset of each section in <see cref="Buffer"/>, for kernels that read the copied buffer.</summary>
    public RaggedBatchLayout Layout => new(_tokens, _positions, _rowSequences, _kvSlots, _sequenceSlots, _starts, _contextLengths, _rotaryBases, _logitRows, _logitSlots, _logitPositions, _suppressedStarts, _blockUpdates);

    /// <summary>Empties the batch.</summary>
    public void Clear()
    {
        Buffer.AsSpan(0, HeaderLength).Clear();
        Buffer[_starts] = 0;
        Buffer[_suppressedStarts] = 0;
        _samplingUpdates.Clear();
        _suppressed.Clear();
    }

    /// <summary>Sends the sampling parameters of a sequence that takes <paramref name="slot"/> in this step.</summary>
    public void SetSampling(int slot, in SlotSampling sampling) => _samplingUpdates.Add((slot, sampling));

    /// <summary>Sends one entry of a slot's row of the block table.</summary>
    public void SetBlock(int slot, int index, int block)
    {
        int at = _blockUpdates + (BlockUpdateInts * BlockUpdateCount++);
        (Buffer[at], Buffer[at + 1], Buffer[at + 2]) = (slot, index, block);
    }

    /// <summary>Adds the next tokens of one sequence.</summary>
    /// <param name="slot">The sequence's slot.</param>
    /// <param name="tokens">Ids, or ~slot where the id is still being drawn.</param>
    /// <param name="firstPosition">Position of the first of them.</param>
    /// <param name="blockTable">The sequence's blocks, by position / block size.</param>
    /// <param name="rotaryBase">See <see cref="RotaryBases"/>.</param>
    public void AddSequence(int slot, ReadOnlySpan<int> tokens, int firstPosition, ReadOnlySpan<int> blockTable, int rotaryBase = 0)
    {
        Debug.Assert(tokens.Length > 0 && TokenCount + tokens.Length <= Limits.Tokens && SequenceCount < Limits.Sequences, "The step fits its limits.");
        int row = TokenCount, sequence = SequenceCount, blockSize = Limits.BlockSize;
        tokens.CopyTo(Buffer.AsSpan(_tokens + row));
        for (int i = 0; i < tokens.Length; i++)
        {
            int position = firstPosition + i;
            Buffer[_positions + row + i] = position;
            Buffer[_rowSequences + row + i] = sequence;
            Buffer[_kvSlots + row + i] = (blockTable[position / blockSize] * blockSize) + (position % blockSize);
        }
        Buffer[_sequenceSlots + sequence] = slot;
        Buffer[_contextLengths + sequence] = firstPosition + tokens.Length;
        Buffer[_rotaryBases + sequence] = rotaryBase;
        Buffer[_starts + sequence + 1] = row + tokens.Length;
        TokenCount = row + tokens.Length;
        SequenceCount = sequence + 1;
    }

    /// <summary>Asks for logits of the row last added, and for a token drawn from them.</summary>
    /// <param name="suppressed">Token ids that must not be drawn.</param>
    public void AddLogitRow(ReadOnlySpan<int> suppressed = default) => AddLogitRow(TokenCount - 1, suppressed);

    /// <summary>Asks for logits of <paramref name="row"/>; rows ascend.</summary>
    public void AddLogitRow(int row, ReadOnlySpan<int> suppressed = default)
    {
        int index = LogitRowCount++;
        Buffer[_logitRows + index] = row;
        Buffer[_logitSlots + index] = Buffer[_sequenceSlots + Buffer[_rowSequences + row]];
        Buffer[_logitPositions + index] = Buffer[_positions + row] + 1;
        _suppressed.AddRange(suppressed);
        Buffer[_suppressedStarts + index + 1] = Buffer[4] = _suppressed.Count;
    }

    // A step appends at most one block a sequence beyond those that its tokens fill.
    private static int BlockUpdateCapacity(StepLimits limits) => (limits.Tokens / limits.BlockSize) + (2 * limits.Sequences);
}

/// <summary>Where each section of <see cref="RaggedBatch.Buffer"/> begins, in ints.</summary>
public readonly record struct RaggedBatchLayout(
    int Tokens, int Positions, int RowSequences, int KvSlots,
    int SequenceSlots, int Starts, int ContextLengths, int RotaryBases,
    int LogitRows, int LogitSlots, int LogitPositions, int SuppressedStarts, int BlockUpdates);
