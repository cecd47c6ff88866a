using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Steps;

/// <summary>
/// What lives on the device from step to step, by slot (block tables, last drawn ids, sampling parameters, penalty counts), and the way a
/// step's metadata gets there: staged in pinned memory, two steps deep, and read by one small kernel. Drawn ids come back through pinned memory.
/// </summary>
internal sealed unsafe class StepState : IDisposable
{
    private const int Sections = 16;
    private const int ResultSlotHeader = 7;
    private const int SamplingInts = 12;
    private const int SamplingUpdateInts = 2 + SamplingInts;

    private readonly CudaDevice _device;
    private readonly KernelLibrary _kernels;
    private readonly ModelShape _shape;
    private readonly bool[] _hasPenalties, _wantsLogProbabilities;
    private readonly nint[] _finished = new nint[2];
    private nint _countsHolder, _results, _logProbabilities;
    private readonly nint[] _staging = new nint[2];
    private readonly int _bufferInts;
    private nint _metadata, _counts;
    private int _planOffset, _suppressedOffset, _suppressedCapacity, _samplingOffset;
    private long _ticket;

    public StepState(CudaDevice device, KernelLibrary kernels, ModelShape shape, StepLimits limits, bool splitSingles, int tileRows)
    {
        (_device, _kernels, _shape, Limits, SplitsSingles) = (device, kernels, shape, limits, splitSingles);
        Group = shape.Heads / shape.KvHeads;
        (HeadDim, KvHeads) = (shape.HeadDim, shape.KvHeads);
        Plan = new AttentionPlan(limits, Group, tileRows);
        (_hasPenalties, _wantsLogProbabilities) = (new bool[limits.Sequences], new bool[limits.Sequences]);
        RaggedBatch empty = new(limits);
        _bufferInts = empty.Buffer.Length;
        Layout = empty.Layout;
        try
        {
            Take();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The largest step.</summary>
    public StepLimits Limits { get; }

    /// <summary>Query heads that share a key/value head.</summary>
    public int Group { get; }

    /// <summary>Key/value heads.</summary>
    public int KvHeads { get; }

    /// <summary>Columns of one head.</summary>
    public int HeadDim { get; }

    /// <summary>Whether sequences with one new token have a kernel of their own.</summary>
    public bool SplitsSingles { get; }

    /// <summary>The attention plan of the step staged last.</summary>
    public AttentionPlan Plan { get; }

    /// <summary>[slots, blocks of a sequence]</summary>
    public nint BlockTables { get; private set; }

    /// <summary>[slots]</summary>
    public nint LastDrawn { get; private set; }

    /// <summary>[slots] SlotSampling</summary>
    public nint Sampling { get; private set; }

    /// <summary>Where the address of the penalty counts [slots, vocabulary] lies.</summary>
    public nint CountsHolder => _countsHolder;

    /// <summary>Pinned: [2 steps, sequences].</summary>
    public nint Results => _results;

    /// <summary>Pinned: [2 steps, sequences, log probabilities of a row].</summary>
    public nint LogProbabilities => _logProbabilities;

    /// <summary>What the logit rows of the step begun last ask for.</summary>
    public LogProbabilityNeed LogProbabilityNeed { get; private set; }

    /// <summary>Raised before the metadata moves, since recorded steps name its address and those queued read it: waits for all and forgets the former.</summary>
    public Action? MetadataMoves { get; set; }

    /// <summary>Offsets of a batch's sections.</summary>
    public RaggedBatchLayout Layout { get; }

    /// <summary>The metadata for kernels.</summary>
    public BatchView View => new(_metadata, Layout);

    /// <summary>Address of the number of tokens of the step.</summary>
    public nint TokenCount => _metadata;

    /// <summary>The attention plan on the device.</summary>
    public nint PlanAddress => _metadata + (_planOffset * sizeof(int));

    /// <summary>Offset of the suppressed tokens in the metadata, in ints.</summary>
    public int SuppressedOffset => _suppressedOffset;

    /// <summary>Bytes that are taken when first asked for: by penalties the counts of all tokens, by log probabilities of changed logits a copy of these.</summary>
    public long LaterBytes => 2L * Limits.Sequences * _shape.VocabularySize * sizeof(uint);

    /// <summary>Takes over <paramref name="batch"/>: its metadata, and what it changes in the slots.</summary>
    /// <returns>The step's ticket.</returns>
    public long Begin(RaggedBatch batch)
    {
        if (batch.Limits != Limits) throw new ArgumentException($"The batch was made for {batch.Limits}, the backend prepared for {Limits}.", nameof(batch));
        ReadOnlySpan<int> suppressed = batch.SuppressedTokens;
        if (suppressed.Length > _suppressedCapacity)
        {
            MetadataMoves?.Invoke();
            Reserve(2 * suppressed.Length);
        }
        long ticket = ++_ticket;
        int index = (int)(ticket & 1);
        // The staging buffer was last read by the step before the previous one.
        if (ticket > 2) _device.AwaitEvent(_finished[index]);
        ResetPenalties(batch);
        LogProbabilityNeed = NeedOf(batch);
        Stage(batch, suppressed, index);
        return ticket;
    }

    /// <summary>Marks the end of the step's work on the stream.</summary>
    public void End(long ticket) => _device.RecordEvent(_finished[ticket & 1]);

    /// <summary>Waits for a step.</summary>
    public void Wait(long ticket)
    {
        if (ticket <= 0 || ticket > _ticket || ticket <= _ticket - 2) throw new ArgumentOutOfRangeException(nameof(ticket), ticket, $"The results of this step are not kept; the last step is {_ticket}, and one more may be uncollected.");
        _device.AwaitEvent(_finished[ticket & 1]);
    }

    /// <summary>What a step drew, once waited for.</summary>
    public ReadOnlySpan<int> Drawn(long ticket, int rows) => new ReadOnlySpan<int>((int*)_results + ((ticket & 1) * Limits.Sequences), Limits.Sequences)[..rows];

    /// <summary>The first log probabilities of a step, once waited for.</summary>
    public ReadOnlySpan<TokenLogProbability> LogProbabilitiesOf(long ticket, int count)
    {
        int room = Limits.Sequences * RaggedBatch.LogProbabilitiesPerRow;
        return new ReadOnlySpan<TokenLogProbability>((TokenLogProbability*)_logProbabilities + ((ticket & 1) * room), room)[..count];
    }

    /// <summary>Gives everything back; no queued work may still use it.</summary>
    public void Dispose()
    {
        foreach (nint handle in _finished) _device.DestroyEvent(handle);
        foreach (nint address in (ReadOnlySpan<nint>)[BlockTables, LastDrawn, Sampling, _countsHolder, _counts]) _device.Free(address);
        foreach (nint address in (ReadOnlySpan<nint>)[_results, _logProbabilities]) _device.FreePinned(address);
        FreeMetadata();
    }

    private void Take()
    {
        for (int i = 0; i < _finished.Length; i++) _finished[i] = _device.CreateEvent();
        BlockTables = _device.Allocate((long)Limits.Sequences * Limits.BlocksPerSequence * sizeof(int), MemoryUse.Activations);
        LastDrawn = _device.Allocate((long)Limits.Sequences * sizeof(int), MemoryUse.Activations);
        Sampling = _device.Allocate((long)Limits.Sequences * SamplingInts * sizeof(int), MemoryUse.Activations);
        _countsHolder = _device.Allocate(sizeof(nint), MemoryUse.Activations);
        _results = _device.AllocatePinned(2L * Limits.Sequences * sizeof(int));
        _logProbabilities = _device.AllocatePinned(2L * Limits.Sequences * RaggedBatch.LogProbabilitiesPerRow * sizeof(TokenLogProbability));
        Reserve(16 * Limits.Sequences);
    }

    private void Reserve(int suppressed)
    {
        int planOffset = (_bufferInts + 3) & ~3, suppressedOffset = (planOffset + Plan.Capacity + 3) & ~3, samplingOffset = (suppressedOffset + suppressed + 3) & ~3;
        long bytes = (samplingOffset + ((long)SamplingUpdateInts * Limits.Sequences)) * sizeof(int);
        // The old is kept until the new is there: where memory is short, only the step that asked fails.
        nint metadata = _device.Allocate(bytes, MemoryUse.Activations), first = 0, second;
        try
        {
            first = _device.AllocatePinned(bytes);
            second = _device.AllocatePinned(bytes);
        }
        catch
        {
            _device.Free(metadata);
            _device.FreePinned(first);
            throw;
        }
        FreeMetadata();
        (_metadata, _staging[0], _staging[1]) = (metadata, first, second);
        (_suppressedCapacity, _planOffset, _suppressedOffset, _samplingOffset) = (suppressed, planOffset, suppressedOffset, samplingOffset);
    }

    private void FreeMetadata()
    {
        _device.Free(_metadata);
        foreach (nint address in _staging) _device.FreePinned(address);
    }

    private LogProbabilityNeed NeedOf(RaggedBatch batch)
    {
        LogProbabilityNeed need = LogProbabilityNeed.None;
        for (int row = 0; row < batch.LogitRowCount; row++)
        {
            int slot = batch.LogitSlots[row];
            if (!_wantsLogProbabilities[slot]) continue;
            bool changes = _hasPenalties[slot] || batch.SuppressedStarts[row] < batch.SuppressedStarts[row + 1];
            need = changes ? LogProbabilityNeed.OfChangedLogits : need == LogProbabilityNeed.None ? LogProbabilityNeed.OfLogits : need;
        }
        return need;
    }

    private void ResetPenalties(RaggedBatch batch)
    {
        foreach ((int slot, SlotSampling sampling) in batch.SamplingUpdates)
        {
            (_hasPenalties[slot], _wantsLogProbabilities[slot]) = (sampling.HasPenalties, sampling.LogProbabilities > 0);
            if (!sampling.HasPenalties) continue;
            long row = (long)_shape.VocabularySize * sizeof(uint);
            if (_counts == 0)
            {
                nint counts = _counts = _device.Allocate(row * Limits.Sequences, MemoryUse.Activations);
                CudaDriver.Check(CudaDriver.cuMemcpyHtoDAsync_v2(_countsHolder, (nint)(&counts), (nuint)sizeof(nint), _device.Stream));
                _device.Synchronize();
            }
            CudaDriver.Check(CudaDriver.cuMemsetD8Async(_counts + (nint)(slot * row), 0, (nuint)row, _device.Stream));
        }
    }

    private void Stage(RaggedBatch batch, ReadOnlySpan<int> suppressed, int index)
    {
        int* staging = (int*)_staging[index];
        BeginArguments arguments = new() { Host = _staging[index], Device = _metadata, BlockTables = BlockTables, Sampling = Sampling, BlocksPerSequence = Limits.BlocksPerSequence };
        ReadOnlySpan<int> source = batch.Buffer;
        int section = 0;
        void Send(ref BeginArguments to, int offset, int count)
        {
            to.Offsets[section] = offset;
            to.Counts[section++] = count;
        }
        void Copy(ref BeginArguments to, ReadOnlySpan<int> from, int offset, int count)
        {
            from.Slice(offset, count).CopyTo(new Span<int>(staging + offset, count));
            Send(ref to, offset, count);
        }
        int tokens = batch.TokenCount, sequences = batch.SequenceCount, logits = batch.LogitRowCount;
        Copy(ref arguments, source, 0, RaggedBatch.HeaderLength);
        staging[ResultSlotHeader] = index;
        foreach (int offset in (ReadOnlySpan<int>)[Layout.Tokens, Layout.Positions, Layout.RowSequences, Layout.KvSlots]) Copy(ref arguments, source, offset, tokens);
        foreach (int offset in (ReadOnlySpan<int>)[Layout.SequenceSlots, Layout.ContextLengths, Layout.RotaryBases]) Copy(ref arguments, source, offset, sequences);
        foreach (int offset in (ReadOnlySpan<int>)[Layout.LogitRows, Layout.LogitSlots, Layout.LogitPositions]) Copy(ref arguments, source, offset, logits);
        Copy(ref arguments, source, Layout.Starts, sequences + 1);
        Copy(ref arguments, source, Layout.SuppressedStarts, logits + 1);
        Plan.Fill(batch, new Span<int>(staging + _planOffset, Plan.Capacity), SplitsSingles);
        Send(ref arguments, _planOffset, Plan.UsedLength);
        suppressed.CopyTo(new Span<int>(staging + _suppressedOffset, suppressed.Length));
        Send(ref arguments, _suppressedOffset, suppressed.Length);

        batch.BlockUpdates.CopyTo(new Span<int>(staging + Layout.BlockUpdates, batch.BlockUpdates.Length));
        (arguments.BlockUpdates, arguments.BlockUpdateCount) = (Layout.BlockUpdates, batch.BlockUpdateCount);
        int* update = staging + _samplingOffset;
        foreach ((int slot, SlotSampling sampling) in batch.SamplingUpdates)
        {
            update[0] = slot;
            Unsafe.WriteUnaligned(update + 2, sampling);
            update += SamplingUpdateInts;
        }
        (arguments.SamplingUpdates, arguments.SamplingUpdateCount) = (_samplingOffset, batch.SamplingUpdates.Length);
        _kernels.Get("step", "begin_step", default).Launch(arguments, (Sections + 2, 1, 1), threads: tokens > 512 ? 1024 : 128);
        CountTokens(batch);
    }

    private void CountTokens(RaggedBatch batch)
    {
        bool any = false;
        foreach (int slot in batch.SequenceSlots) any |= _hasPenalties[slot];
        if (!any) return;
        CountArguments arguments = new() { Batch = View, LastDrawn = LastDrawn, Sampling = Sampling, Counts = _counts, Vocabulary = _shape.VocabularySize };
        _kernels.Get("step", "count_tokens", default).Launch(arguments, ((batch.TokenCount + 255) / 256, 1, 1), threads: 256);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct BeginArguments
    {
        public nint Host, Device;
        public fixed int Offsets[Sections];
        public fixed int Counts[Sections];
        public int BlockUpdates, BlockUpdateCount, SamplingUpdates, SamplingUpdateCount;
        public nint BlockTables, Sampling;
        public int BlocksPerSequence;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct CountArguments
    {
        public BatchView Batch;
        public nint LastDrawn, Sampling, Counts;
        public int Vocabulary;
    }
}
