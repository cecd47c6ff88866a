using FastGen.Compute;

namespace FastGen;

/// <summary>Turns scheduled sequences into a batch and starts it on the backend.</summary>
internal sealed class ModelRunner
{
    private readonly CausalLM _model;
    private readonly KvCache _cache;
    private readonly Activations _activations;
    private readonly Action<int, int> _forward;
    private RaggedBatch? _batch;

    public ModelRunner(CausalLM model, KvCache cache, Activations activations)
    {
        _model = model;
        _cache = cache;
        _activations = activations;
        _forward = Forward;
    }

    public void Submit(EngineStep step)
    {
        RaggedBatch batch = step.Batch;
        batch.Clear();
        step.WantsLogProbabilities = false;
        foreach ((Sequence sequence, int tokens, bool draws) in step.Work)
        {
            Add(batch, sequence, tokens, draws);
            step.WantsLogProbabilities |= draws && sequence.Sampling.LogProbabilities > 0;
        }
        step.Ticket = Submit(batch);
    }

    /// <summary>Lets the backend compile what steps of all sizes need.</summary>
    public void CompileSteps(RaggedBatch batch, CancellationToken cancellationToken)
    {
        _batch = batch;
        _model.Backend.CompileSteps(batch, _forward, cancellationToken);
    }

    public long Submit(RaggedBatch batch)
    {
        _batch = batch;
        return _model.Backend.Submit(batch, _forward);
    }

    public void Collect(EngineStep step)
    {
        int rows = step.Batch.LogitRowCount;
        _model.Backend.Collect(step.Ticket, step.Drawn.AsSpan(0, rows));
        if (step.WantsLogProbabilities) _model.Backend.CollectLogProbabilities(step.Ticket, step.LogProbabilities.AsSpan(0, rows * RaggedBatch.LogProbabilitiesPerRow));
    }

    private void Add(RaggedBatch batch, Sequence sequence, int tokens, bool draws)
    {
        if (!sequence.SamplingSent)
        {
            batch.SetSampling(sequence.Slot, sequence.Sampling);
            sequence.SamplingSent = true;
        }
        ReadOnlySpan<int> blocks = sequence.Blocks.Entries;
        for (; sequence.SentBlocks < blocks.Length; sequence.SentBlocks++) batch.SetBlock(sequence.Slot, sequence.SentBlocks, blocks[sequence.SentBlocks]);
        batch.AddSequence(sequence.Slot, sequence.Pending(tokens), sequence.ComputedTokens, blocks, _model.RotaryBase(sequence.RotaryLength));
        if (draws) batch.AddLogitRow(sequence.NewTokens < sequence.MinNewTokens ? sequence.StopTokens : []);
    }

    private void Forward(int rows, int logitRows)
    {
        _activations.Resize(rows, logitRows);
        _model.Forward(new ForwardPass(_model.Backend, _batch!, _cache, _activations));
        if (logitRows > 0) _model.Backend.Sample(_activations.Logits, _batch!);
    }
}
