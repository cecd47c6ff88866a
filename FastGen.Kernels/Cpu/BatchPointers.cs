using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>The sections of a batch as pointers, which parallel work can hold: the batch's buffer is pinned.</summary>
internal readonly unsafe struct BatchPointers
{
    public readonly int Rows, Sequences, LogitRows;
    public readonly int* Positions, RowSequences, KvSlots, SequenceSlots, Starts, ContextLengths, RotaryBases, SelectedRows;

    public BatchPointers(RaggedBatch batch)
    {
        int* buffer = (int*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(batch.Buffer));
        RaggedBatchLayout layout = batch.Layout;
        Rows = batch.TokenCount;
        Sequences = batch.SequenceCount;
        LogitRows = batch.LogitRowCount;
        Positions = buffer + layout.Positions;
        RowSequences = buffer + layout.RowSequences;
        KvSlots = buffer + layout.KvSlots;
        SequenceSlots = buffer + layout.SequenceSlots;
        Starts = buffer + layout.Starts;
        ContextLengths = buffer + layout.ContextLengths;
        RotaryBases = buffer + layout.RotaryBases;
        SelectedRows = buffer + layout.LogitRows;
    }
}
