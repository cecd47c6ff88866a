using FastGen.Compute;

namespace FastGen;

/// <summary>
/// Runs decode steps of all sizes at load, with short contexts and long ones, one step that holds a prompt's chunk too, and prompts of growing length up to the token
/// budget, so that no request waits for a kernel to be compiled, an algorithm to be chosen or a step to be recorded. What they write to the cache is
/// overwritten before it is read. Where the cache's size is measured, the largest steps run before all of these.
/// </summary>
internal static class StepWarmUp
{
    private const int ShortContext = 64, LongContext = 4096, CountStep = 8, Chunk = 64;

    // Prompts: backends choose algorithms for row counts in such steps, and for large ones hardly any more.
    private const int PromptStep = 128, MostPromptSteps = 8;

    // The first step of a kind chooses algorithms and takes scratch, the second records.
    private const int Turns = 2;

    /// <summary>Lets the backend compile what steps of all sizes need. Comes once, before all else.</summary>
    public static void Compile(IBackend backend, ModelRunner runner, StepLimits limits, CancellationToken cancellationToken)
    {
        if (!backend.CompilesSteps) return;
        RaggedBatch batch = new(limits);
        Add(batch, 0, [0], 0, new int[limits.BlocksPerSequence]);
        runner.CompileSteps(batch, cancellationToken);
    }

    /// <summary>The steps that take the most memory: one of as many tokens as there can be, and one of as many decodes. Either runs once, so that neither is recorded.</summary>
    public static void RunLargest(IBackend backend, ModelRunner runner, StepLimits limits, int vocabulary, int maxContext, CancellationToken cancellationToken)
    {
        RaggedBatch batch = new(limits);
        // Of many prompts rather than of a long one: as many rows, whose attention costs little.
        int prompts = Math.Min(limits.Sequences, Math.Max(limits.Tokens / Chunk, EngineSizes.Ceiling(limits.Tokens, maxContext)));
        int tokens = (int)Math.Min(limits.Tokens, (long)prompts * maxContext);
        Step(backend, runner, batch, vocabulary, decodes: 0, context: 0, [.. Enumerable.Range(0, prompts).Select(i => (int)(((long)tokens * (i + 1) / prompts) - ((long)tokens * i / prompts)))], cancellationToken);
        Step(backend, runner, batch, vocabulary, Math.Min(limits.Sequences, limits.Tokens), Math.Min(LongContext, maxContext), [], cancellationToken);
    }

    /// <summary>Decodes of all sizes, and some beside a chunk.</summary>
    public static void RunDecodes(IBackend backend, ModelRunner runner, StepLimits limits, int vocabulary, int maxContext, CancellationToken cancellationToken)
    {
        if (!backend.CompilesSteps) return;
        RaggedBatch batch = new(limits);
        int most = Math.Min(limits.Sequences, limits.Tokens);
        foreach (int context in (int[])[Math.Min(ShortContext, maxContext), Math.Min(LongContext, maxContext)])
        {
            for (int count = 1; count <= most; count = count == most ? most + 1 : Math.Min(most, count < CountStep ? 2 * count : count + CountStep))
            {
                for (int turn = 0; turn < Turns; turn++) Step(backend, runner, batch, vocabulary, count, context, [], cancellationToken);
            }
            int beside = Math.Min(CountStep, Math.Min(limits.Sequences - 1, limits.Tokens / 2));
            if (beside > 0) Step(backend, runner, batch, vocabulary, beside, context, [Math.Min(Chunk, Math.Min(limits.Tokens - beside, maxContext))], cancellationToken);
        }
    }

    /// <summary>Prompts alone, up to <paramref name="tokenBudget"/> tokens.</summary>
    public static void RunPrompts(IBackend backend, ModelRunner runner, StepLimits limits, int vocabulary, int maxContext, int tokenBudget, CancellationToken cancellationToken)
    {
        if (!backend.CompilesSteps) return;
        RaggedBatch batch = new(limits);
        int largest = Math.Min(tokenBudget, maxContext);
        for (int i = 1; i <= MostPromptSteps && i * PromptStep < largest; i++) Step(backend, runner, batch, vocabulary, decodes: 0, context: 0, [i * PromptStep], cancellationToken);
        Step(backend, runner, batch, vocabulary, decodes: 0, context: 0, [largest], cancellationToken);
    }

    // The block tables are still empty: every context lies in block 0.
    private static void Step(IBackend backend, ModelRunner runner, RaggedBatch batch, int vocabulary, int decodes, int context, ReadOnlySpan<int> chunks, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        int[] blocks = new int[batch.Limits.BlocksPerSequence], drawn = new int[batch.Limits.Sequences];
        batch.Clear();
        for (int slot = 0; slot < decodes; slot++) Add(batch, slot, [slot % vocabulary], context - 1, blocks);
        for (int i = 0; i < chunks.Length; i++) Add(batch, decodes + i, [.. Enumerable.Range(0, chunks[i]).Select(token => token % vocabulary)], 0, blocks);
        backend.Collect(runner.Submit(batch), drawn.AsSpan(0, batch.LogitRowCount));
    }

    private static void Add(RaggedBatch batch, int slot, ReadOnlySpan<int> tokens, int position, ReadOnlySpan<int> blocks)
    {
        batch.SetSampling(slot, SamplingParameters.Greedy.ForSlot(0, position + tokens.Length));
        batch.AddSequence(slot, tokens, position, blocks);
        batch.AddLogitRow();
    }
}
