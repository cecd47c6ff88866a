namespace FastGen.Compute;

/// <summary>
/// The narrow waist between models and hardware. Operations run in call order, as on one stream; on a device they are queued and
/// return at once. Only <see cref="Collect"/> and <see cref="Download"/> wait. A backend serves one engine and is called by one
/// thread at a time; what it allocated and did not get back is freed with it.
/// </summary>
public interface IBackend : IDisposable
{
    /// <summary>The hardware in words, for logs.</summary>
    string Description { get; }

    /// <summary>
    /// Bytes that the key/value cache may take when the caller sets no size. The engine asks once everything else is there: the weights, the activations, and where
    /// <see cref="CompilesSteps"/> whatever the largest steps take, which have then run.
    /// </summary>
    long DefaultCacheBytes { get; }

    /// <summary>The largest token budget that calibration may try.</summary>
    int TokenBudgetLimit { get; }

    /// <summary>True if the first step of a size takes much longer than later ones, because kernels are compiled, memory taken and steps recorded: the engine then runs some at load.</summary>
    bool CompilesSteps => false;

    /// <summary>The types it computes in with weights stored as <paramref name="weights"/>.</summary>
    Precision PrecisionFor(DType weights);

    // Memory

    /// <summary>Room for a weight matrix in the layout that this backend's products and <see cref="Embed"/> read.</summary>
    Tensor AllocateWeights(DType type, int rows, int columns);

    /// <summary>Room for a row-major matrix of zeros: activations, vectors, tables.</summary>
    Tensor Allocate(DType type, int rows, int columns);

    /// <summary>Room for one layer's cache. Each row is a block; its layout is the backend's own.</summary>
    KvLayer AllocateKvLayer(DType type, int blocks, int blockSize, int kvHeads, int headDim);

    /// <summary>Gives one layer's cache back before the backend ends. All steps are collected, and no later one uses it.</summary>
    void FreeKvLayer(KvLayer layer);

    /// <summary>
    /// Fills rows of a weight matrix or a row-major matrix, from <paramref name="firstRow"/> on.
    /// </summary>
    /// <param name="source">Row-major values of whole rows. Read before the call returns.</param>
    /// <param name="sourceType">Their type; converted to the target's where they differ.</param>
    /// <param name="target">The matrix.</param>
    /// <param name="firstRow">Where the first row of <paramref name="source"/> goes.</param>
    void Upload(ReadOnlySpan<byte> source, DType sourceType, Tensor target, int firstRow = 0);

    /// <summary>
    /// Host memory from which <see cref="Upload"/> reads fastest: to be filled, by any number of threads, and given to it whole. Two may be out at once, and come back in
    /// order; meanwhile nothing else is uploaded or downloaded.
    /// </summary>
    Memory<byte> UploadBuffer(int bytes);

    /// <summary>Waits for all queued work and reads a row-major matrix as F32.</summary>
    void Download(Tensor source, Span<float> target);

    /// <summary>Called once, after the weights are loaded and before the first step: makes the state of all slots and scratch for the largest step.</summary>
    void Prepare(ModelShape shape, StepLimits limits);

    // Steps

    /// <summary>
    /// Called once before the first step where <see cref="CompilesSteps"/>: readies what steps of all sizes need, all at once. <paramref name="forward"/> is run for such
    /// sizes; its operations compute nothing.
    /// </summary>
    /// <param name="batch">One token with logits; stands for all steps.</param>
    /// <param name="forward">As for <see cref="Submit"/>.</param>
    /// <param name="cancellationToken">Ends it early, after what is being compiled at the moment.</param>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    void CompileSteps(RaggedBatch batch, Action<int, int> forward, CancellationToken cancellationToken = default)
    {
    }

    /// <summary>
    /// Starts a step: takes over what the batch changes in the slots' state, then runs <paramref name="forward"/>, which queues the
    /// step's operations, or replays what it queued for a step of the same shape. <paramref name="forward"/> gets the numbers of rows and of
    /// logit rows to compute; they may be padded beyond the batch's own. At most one other step may be uncollected.
    /// </summary>
    /// <returns>The ticket for <see cref="Collect"/>.</returns>
    long Submit(RaggedBatch batch, Action<int, int> forward);

    /// <summary>Waits for a step and gives the id drawn for each logit row of its batch, or −1 where a row held NaN or nothing finite.</summary>
    void Collect(long ticket, Span<int> tokens);

    /// <summary>
    /// Gives the log probabilities of the step collected last, for each logit row whose slot asks for them (<see cref="SlotSampling.LogProbabilities"/>) and
    /// whose draw succeeded: of the drawn token, then of the most likely ones, by falling probability and lower ids first among equals. All are the log-softmax of
    /// the logits as <see cref="Sample"/> got them. Other rows, and what a row does not ask for, are left as they are.
    /// </summary>
    /// <param name="ticket">The step's ticket.</param>
    /// <param name="target">[logit rows, <see cref="RaggedBatch.LogProbabilitiesPerRow"/>]</param>
    void CollectLogProbabilities(long ticket, Span<TokenLogProbability> target);

    // Operations

    /// <summary>output[i] = table[token of row i].</summary>
    void Embed(Tensor output, Tensor table, RaggedBatch batch);

    /// <summary>output[i] += table[position of row i + offset]: learned positions (OPT).</summary>
    void AddPositions(Tensor output, Tensor table, int offset, RaggedBatch batch);

    /// <summary>output = norm(input), row by row; output may be the input.</summary>
    void Norm(Tensor output, Tensor input, NormWeights weights);

    /// <summary>output = activation(norm(input) · weightᵀ + bias), added to what output holds when <paramref name="accumulate"/>.</summary>
    void Linear(Tensor output, in LinearInput input, LinearWeights weights, Activation activation = Activation.None, bool accumulate = false);

    /// <summary>
    /// output += first · firstWeightsᵀ + second · secondWeightsᵀ, with their biases: what a layer whose attention and MLP are parallel ends with. A backend that computes
    /// both together overrides this.
    /// </summary>
    void LinearSum(Tensor output, Tensor first, LinearWeights firstWeights, Tensor second, LinearWeights secondWeights)
    {
        Linear(output, new LinearInput(first), firstWeights, accumulate: true);
        Linear(output, new LinearInput(second), secondWeights, accumulate: true);
    }

    /// <summary>output = activation(g) ⊙ u, where [g | u] = norm(input) · gateUpᵀ + bias and gateUp stacks the gate's rows over the up projection's.</summary>
    void GatedLinear(Tensor output, in LinearInput input, LinearWeights gateUp, Activation activation);

    /// <summary>
    /// Normalizes and rotates q and k of each row [q | k | v] as the layer says, then writes k and v to the cache. The rows keep q, in a form that
    /// only this backend's <see cref="Attention"/> reads.
    /// </summary>
    void StoreKv(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch);

    /// <summary>
    /// [q | k | v] = norm(input) · weightᵀ + bias, then <see cref="StoreKv"/>: what a layer's attention begins with. A backend that computes both together
    /// overrides this; of <paramref name="qkv"/> only what <see cref="Attention"/> reads has to be there afterwards.
    /// </summary>
    void ProjectQkv(Tensor qkv, in LinearInput input, LinearWeights weights, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        Linear(qkv, input, weights);
        StoreKv(qkv, cache, attention, batch);
    }

    /// <summary>
    /// <see cref="ProjectQkv"/>, and of the same input up = activation(norm(input) · upWeightsᵀ + bias): what a layer whose attention and MLP are parallel begins with. A backend that
    /// computes both together overrides this.
    /// </summary>
    void ProjectQkvAndUp(Tensor qkv, Tensor up, in LinearInput input, LinearWeights qkvWeights, LinearWeights upWeights, Activation activation, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        Linear(up, input, upWeights, activation);
        ProjectQkv(qkv, input, qkvWeights, cache, attention, batch);
    }

    /// <summary>Causal paged attention of every row's query over its sequence's cached context, its own token included. output: [rows, query columns].</summary>
    void Attention(Tensor output, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch);

    /// <summary>output += Σ over the chosen experts of probability · expert(norm(input)).</summary>
    void MixtureOfExperts(Tensor output, in LinearInput input, ExpertWeights weights);

    /// <summary>output[i] += sigmoid(norm(input)[i] · gateᵀ) · (rows[i] · downᵀ): the shared expert of Qwen2-MoE. gate has one output.</summary>
    void AddGated(Tensor output, in LinearInput input, LinearWeights gate, Tensor rows, LinearWeights down);

    /// <summary>Keeps the rows whose logits are wanted: output[i] = input[logit row i].</summary>
    void SelectRows(Tensor output, Tensor input, RaggedBatch batch);

    /// <summary>
    /// Draws one token for each logit row with its slot's parameters, in Hugging Face's order: penalties, temperature, top-k, top-p, min-p.
    /// The uniform number is Philox4x32-10 of (seed, position), so that a draw depends on nothing else. Keeps the id with the slot.
    /// </summary>
    void Sample(Tensor logits, RaggedBatch batch);
}
