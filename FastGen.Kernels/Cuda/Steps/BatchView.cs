using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Kernels.Cuda.Steps;

/// <summary>A batch's metadata on the device, as kernels see it: struct Batch of common.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct BatchView(nint data, RaggedBatchLayout layout)
{
    private readonly nint _data = data;
    private readonly int _tokens = layout.Tokens, _positions = layout.Positions, _rowSequences = layout.RowSequences, _kvSlots = layout.KvSlots;
    private readonly int _sequenceSlots = layout.SequenceSlots, _starts = layout.Starts, _contextLengths = layout.ContextLengths, _rotaryBases = layout.RotaryBases;
    private readonly int _logitRows = layout.LogitRows, _logitSlots = layout.LogitSlots, _logitPositions = layout.LogitPositions, _suppressedStarts = layout.SuppressedStarts;
}
