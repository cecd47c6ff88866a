using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;

namespace FastGen.Kernels.Cuda;

// Kernels of all steps, known before the first: the operations of a step are queued for every size, but not launched.
public sealed unsafe partial class CudaBackend
{
    private const int ShortContext = 64, LongContext = 4096, ChunkTokens = 64;

    /// <inheritdoc/>
    public void CompileSteps(RaggedBatch batch, Action<int, int> forward, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(forward);
        _device.MakeCurrent();
        // What steps launch around their operations, and what a request may ask for later.
        KernelCode[] others = [new KernelCode("step", default), new KernelCode("log_probabilities", default)];
        _kernels.Compile([.. others, .. Rehearse(batch, forward).Select(launch => launch.Code)], cancellationToken);
    }

    /// <summary>The launches of steps of all sizes: decodes with short contexts and long ones, and prompts.</summary>
    /// <param name="batch">Any batch with logits, made for the limits that this backend is prepared for.</param>
    /// <param name="forward">Queues the operations, as for <see cref="Submit"/>.</param>
    internal IReadOnlyList<KernelLaunch> Rehearse(RaggedBatch batch, Action<int, int> forward)
    {
        StepLimits limits = Steps.Limits;
        _current = batch;
        try
        {
            PlanRehearsal(limits);
            return _device.Rehearse(() =>
            {
                (int most, int longest) = (Math.Min(limits.Sequences, limits.Tokens), Math.Min(LongContext, limits.BlocksPerSequence * limits.BlockSize));
                foreach (bool replayed in (bool[])(_options.UseGraphs ? [true, false] : [false]))
                {
                    _replayable = replayed;
                    foreach (int context in Contexts().Where(context => context < longest)) Queue(context, 1, 1);
                    foreach (int context in (int[])[Math.Min(ShortContext, longest), longest])
                    {
                        // Kernels are made for powers of two of rows.
                        for (int count = 1; count > 0; count = count < most ? Math.Min(2 * count, most) : 0) Queue(context, count, count);
                        if (replayed) continue;
                        for (int tokens = ChunkTokens; tokens <= limits.Tokens; tokens *= 2) Queue(context, tokens, Math.Min(tokens, most));
                    }
                }
            });
        }
        finally
        {
            (_current, _pending) = (null, null);
        }

        void Queue(int context, int rows, int logitRows)
        {
            (_longestContext, _singleKeys) = (context, (long)context * rows);
            this.Queue(forward, rows, logitRows);
        }
    }

    // A step that has both kinds of rows: one that is alone in its sequence, and a chunk of a prompt.
    private void PlanRehearsal(StepLimits limits)
    {
        RaggedBatch planned = new(limits);
        int[] blocks = new int[limits.BlocksPerSequence], chunk = new int[Math.Min(ChunkTokens, Math.Min(limits.Tokens - 1, limits.BlocksPerSequence * limits.BlockSize))];
        planned.AddSequence(0, [0], 0, blocks);
        if (limits.Sequences > 1 && chunk.Length > 1) planned.AddSequence(1, chunk, 0, blocks);
        Steps.Plan.Fill(planned, new int[Steps.Plan.Capacity], Steps.SplitsSingles);
    }

    // Every share that a split can have: from one power of two to the next, with four to eight pages for each.
    private static IEnumerable<int> Contexts()
    {
        for (int context = ShortContext; context < LongContext; context *= 2)
        {
            foreach (int quarters in (int[])[4, 5, 6, 8]) yield return context * quarters / 4;
        }
    }
}
