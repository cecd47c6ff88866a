using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>Draws the tokens of a step, each worker some rows.</summary>
internal sealed unsafe class StepSampler : IDisposable
{
    private readonly SlotStates _slots;
    private readonly StepResults _results;
    private readonly Sampler[] _samplers;
    private readonly GCHandle<StepSampler> _self;
    private RaggedBatch? _batch;
    private Tensor _logits;

    public StepSampler(SlotStates slots, StepResults results, int vocabularySize, int workers)
    {
        _slots = slots;
        _results = results;
        _samplers = new Sampler[workers];
        for (int i = 0; i < workers; i++) _samplers[i] = new Sampler(vocabularySize);
        _self = new GCHandle<StepSampler>(this);
    }

    /// <summary>The draws of one step.</summary>
    public SampleWork Work(Tensor logits, RaggedBatch batch)
    {
        (_logits, _batch) = (logits, batch);
        if (_slots.WantsLogProbabilities(batch)) _results.ReserveLogProbabilities();
        return new SampleWork(_self);
    }

    public void Dispose() => _self.Dispose();

    private void Draw(int worker, int workers)
    {
        RaggedBatch batch = _batch!;
        workers = Math.Min(workers, _samplers.Length);
        if (worker >= workers) return;
        (int start, int end) = Share.Of(batch.LogitRowCount, worker, workers);
        for (int i = start; i < end; i++)
        {
            int slot = batch.LogitSlots[i];
            ReadOnlySpan<float> row = new((float*)_logits.Data + ((long)i * _logits.Columns), _logits.Columns);
            ReadOnlySpan<int> suppressed = batch.SuppressedTokens[batch.SuppressedStarts[i]..batch.SuppressedStarts[i + 1]];
            int drawn = _samplers[worker].Draw(row, _slots.Sampling(slot), _slots.Penalties(slot), suppressed, batch.LogitPositions[i]);
            _results.Current[i] = drawn;
            _slots.SetLastDrawn(slot, drawn);
            int wanted = Math.Min(_slots.Sampling(slot).LogProbabilities, 1 + row.Length);
            if (wanted > 0 && drawn >= 0) LogSoftmax.Fill(row, drawn, _results.LogProbabilities(i)[..wanted]);
        }
    }

    /// <summary>Holds its owner by a handle, since parallel work holds no references.</summary>
    internal readonly struct SampleWork(GCHandle<StepSampler> owner) : IParallelWork
    {
        private readonly GCHandle<StepSampler> _owner = owner;

        public void Run(int worker, int workers) => _owner.Target.Draw(worker, workers);
    }
}
