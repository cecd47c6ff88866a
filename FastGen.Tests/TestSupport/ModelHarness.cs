using FastGen.Compute;

namespace FastGen.Tests;

/// <summary>Runs a model step by step without an engine: its own slots and blocks, no sampling, logits as the backend computed them.</summary>
public sealed class ModelHarness : IDisposable
{
    private readonly KvCache _cache;
    private readonly Activations _activations;
    private readonly RaggedBatch _batch;
    private readonly StepLimits _limits;
    private readonly Stack<int> _freeBlocks, _freeSlots;

    /// <summary>Takes over the model's backend.</summary>
    public ModelHarness(CausalLM model, int tokens = 256, int sequences = 16, int contextBlocks = 16, int blockSize = 16)
    {
        Model = model;
        _limits = new StepLimits(tokens, sequences, blockSize, contextBlocks);
        int blocks = sequences * contextBlocks;
        _cache = new KvCache(model.Backend, model.Shape, model.Backend.PrecisionFor(model.Shape.WeightType).KvCache, blocks, blockSize);
        _activations = new Activations(model.Backend, model.Shape, _limits);
        _batch = new RaggedBatch(_limits);
        model.Backend.Prepare(model.Shape, _limits);
        // A stride that shares no factor with the count scatters the blocks, as a busy engine does.
        _freeBlocks = new Stack<int>(Enumerable.Range(0, blocks).Select(i => (int)((i * 7919L) % blocks)));
        _freeSlots = new Stack<int>(Enumerable.Range(0, sequences).Reverse());
    }

    public CausalLM Model { get; }

    /// <summary>A sequence in the making.</summary>
    public sealed class Sequence(int slot, int rotaryBase)
    {
        public int Slot { get; } = slot;
        public int RotaryBase { get; } = rotaryBase;
        public List<int> Blocks { get; } = [];
        public int Length { get; set; }
    }

    /// <summary>The next tokens of a sequence, and how many of the last get logits.</summary>
    public readonly record struct Work(Sequence Sequence, int[] Tokens, int LogitRows);

    /// <summary>Starts a sequence whose prompt will have that length.</summary>
    public Sequence Start(int promptLength) => new(_freeSlots.Pop(), Model.RotaryBase(promptLength));

    /// <summary>Gives a sequence's slot and blocks back.</summary>
    public void Finish(Sequence sequence)
    {
        foreach (int block in sequence.Blocks) _freeBlocks.Push(block);
        _freeSlots.Push(sequence.Slot);
    }

    /// <summary>Runs one step; returns a row of logits for each that was asked for, in order.</summary>
    public float[][] Step(params ReadOnlySpan<Work> work)
    {
        _batch.Clear();
        int wanted = 0;
        foreach (Work item in work) wanted += item.LogitRows;
        if (wanted > _limits.Sequences) throw new ArgumentException($"The harness has room for {_limits.Sequences} rows of logits, not {wanted}.", nameof(work));
        foreach (Work item in work) Add(item);
        int rows = _batch.LogitRowCount, vocabulary = Model.Shape.VocabularySize;
        long ticket = Model.Backend.Submit(_batch, (tokens, logitRows) =>
        {
            _activations.Resize(tokens, logitRows);
            Model.Forward(new ForwardPass(Model.Backend, _batch, _cache, _activations));
        });
        float[] logits = Download(_activations.Logits.WithRows(rows));
        Model.Backend.Collect(ticket, new int[rows]);
        return [.. Enumerable.Range(0, rows).Select(row => logits[(row * vocabulary)..((row + 1) * vocabulary)])];
    }

    /// <summary>Logits of the last <paramref name="logitRows"/> tokens of a prompt that runs in chunks of the given lengths.</summary>
    public float[][] Prompt(int[] prompt, int logitRows, params ReadOnlySpan<int> chunks)
    {
        Sequence sequence = Start(prompt.Length);
        List<float[]> logits = [];
        int done = 0;
        foreach (int length in chunks.IsEmpty ? [prompt.Length] : chunks)
        {
            int after = prompt.Length - done - length;
            logits.AddRange(Step(new Work(sequence, prompt[done..(done + length)], Math.Clamp(logitRows - after, 0, length))));
            done += length;
        }
        Finish(sequence);
        return [.. logits];
    }

    /// <summary>The most likely tokens, one after the other.</summary>
    public int[] Greedy(int[] prompt, int count)
    {
        Sequence sequence = Start(prompt.Length);
        List<int> output = [];
        int[] next = prompt;
        while (output.Count < count)
        {
            if (output.Count > 0 && prompt.Length + output.Count == Model.Shape.RecomputeBeyond + 1)
            {
                Finish(sequence);
                next = [.. prompt, .. output];
                sequence = Start(next.Length);
            }
            next = [Best(Step(new Work(sequence, next, 1))[0])];
            output.Add(next[0]);
        }
        Finish(sequence);
        return [.. output];
    }

    /// <summary>Residual stream after the last step, row by row.</summary>
    public float[][] Hidden()
    {
        float[] values = Download(_activations.Hidden);
        return [.. values.Chunk(Model.Shape.HiddenSize)];
    }

    public static int Best(float[] logits) => Array.IndexOf(logits, logits.Max());

    public void Dispose() => Model.Backend.Dispose();

    private void Add(Work item)
    {
        (Sequence sequence, int end) = (item.Sequence, item.Sequence.Length + item.Tokens.Length);
        if (sequence.Length == 0) _batch.SetSampling(sequence.Slot, SamplingParameters.Greedy.ForSlot(seed: 0, promptLength: item.Tokens.Length));
        while (sequence.Blocks.Count * _limits.BlockSize < end)
        {
            sequence.Blocks.Add(_freeBlocks.Pop());
            _batch.SetBlock(sequence.Slot, sequence.Blocks.Count - 1, sequence.Blocks[^1]);
        }
        _batch.AddSequence(sequence.Slot, item.Tokens, sequence.Length, [.. sequence.Blocks], sequence.RotaryBase);
        for (int row = item.LogitRows; row > 0; row--) _batch.AddLogitRow(_batch.TokenCount - row);
        sequence.Length = end;
    }

    private float[] Download(Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        Model.Backend.Download(tensor, values);
        return values;
    }
}
