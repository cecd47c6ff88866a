namespace FastGen.Kernels.Cuda.Steps;

/// <summary>
/// How attention_split.cu shares the context of a sequence with one new token among CTAs (splits), and how many pages each has in flight (slots).
/// </summary>
/// <param name="Multiprocessors">Of the device.</param>
/// <param name="SharedBytesPerBlock">Of the device.</param>
/// <param name="Hopper">Whether CTAs may form clusters and copy pages in bulk.</param>
/// <param name="KvHeads">Of the model.</param>
/// <param name="Group">Query heads that share a key/value head.</param>
/// <param name="HeadDim">Columns of a head.</param>
internal readonly record struct AttentionSplitting(int Multiprocessors, int SharedBytesPerBlock, bool Hopper, int KvHeads, int Group, int HeadDim)
{
    /// <summary>Tokens of a page.</summary>
    public const int PageTokens = 16;

    private const int MostWarps = 4, FewestWarps = 2;
    private const int FewestStages = 2;
    private const int LeastPagesASplit = 4;
    private const int MostSplitsLog2 = 5;
    private const int LargestCluster = 8;
    private const int Alignment = 128;
    private const int MostSlots = 16;

    // In a multiprocessor: of four warps, and of two.
    private const int MostLargeCtas = 2, MostSmallCtas = 4;

    // What a CTA takes of a multiprocessor's shared memory besides its own.
    private const int SystemBytes = 1024;

    /// <summary>Whether the kernel's rings and own variables fit the device.</summary>
    public bool Fits => Stages(splits: 2) >= FewestStages;

    private int PageBytes => PageTokens * HeadDim * 2 * sizeof(ushort);

    /// <summary>The launch for a number of sequences.</summary>
    /// <param name="sequences">With one new token each.</param>
    /// <param name="longestContext">The longest of their contexts.</param>
    /// <param name="contexts">All of their contexts, added up.</param>
    public SplitShape Shape(int sequences, int longestContext, long contexts)
    {
        int ctas = sequences * KvHeads, splits = Splits(ctas, longestContext);
        if (!Hopper) return new SplitShape(splits, MostWarps, MostWarps * Stages(splits));
        if (splits > 1)
        {
            SplitShape shape = Shared(splits, ctas, longestContext);
            // Clusters of more than two leave a tenth of the device unused: rather half as many than a second round of them.
            return Cluster(splits) > 2 && 11 * splits * ctas > 10 * Resident(shape) * Multiprocessors ? Shared(splits / 2, ctas, longestContext) : shape;
        }
        // In small CTAs, many at once, rather than in rounds of a few large ones, unless a long context would then be the last by far. In more rounds than one
        // it is the heads that share keys that gain; where each has its own, large ones were faster by 1 to 2 %.
        int perMultiprocessor = PerMultiprocessor(ctas), slots = Room(splits, Math.Min(perMultiprocessor, MostSmallCtas));
        bool even = 4 * (long)longestContext * sequences <= 5 * contexts, atOnce = perMultiprocessor <= MostSmallCtas;
        return even && perMultiprocessor > MostLargeCtas && (atOnce || Group > 1) && slots > MostWarps ? new SplitShape(splits, FewestWarps, slots) : new SplitShape(splits, MostWarps, MostWarps * Stages(splits));
    }

    // A sequence and head shared by several CTAs.
    private SplitShape Shared(int splits, int ctas, int longestContext)
    {
        int most = MostWarps * Stages(splits);
        // Only pairs tile the device with one CTA a multiprocessor.
        if (Cluster(splits) > 1) most = Math.Max(most, Room(splits, Cluster(splits) == 2 ? PerMultiprocessor(ctas * splits) : MostLargeCtas));
        // Where a CTA has few pages, all of them at once and no more, so that CTAs may still fit beside those of the product before.
        int pages = (((longestContext + PageTokens - 1) / PageTokens) + splits - 1) / splits;
        foreach (int slots in (ReadOnlySpan<int>)[5, 6, 8, 10, 12])
        {
            if (pages <= slots) return new SplitShape(splits, MostWarps, Math.Min(slots, most));
        }
        return new SplitShape(splits, MostWarps, most);
    }

    /// <summary>Stages that the kernel is compiled for; 0 on Hopper, where it takes any number of slots.</summary>
    public int CompiledStages(SplitShape shape) => Hopper ? 0 : shape.Slots / shape.Warps;

    /// <summary>CTAs of a cluster: splits that fit one meet in it, others through memory.</summary>
    public int Cluster(int splits) => Hopper && splits is > 1 and <= LargestCluster ? splits : 1;

    /// <summary>Dynamic shared memory of a CTA.</summary>
    public int SharedBytes(int splits, int slots) => (slots * PageBytes) + (Cluster(splits) > 1 ? ((MostWarps * HeadDim) + (2 * MostWarps * LargestCluster)) * Group * sizeof(float) : 0);

    /// <summary>At least what the kernel declares for itself: queries, the new key and value, barriers, and what its warps hand each other.</summary>
    public int OwnBytes => (Group * (HeadDim + 8) * sizeof(ushort)) + (2 * HeadDim * sizeof(ushort)) + (Hopper ? MostSlots * sizeof(ulong) : 0) + (2 * MostWarps * Group * sizeof(float)) + Alignment;

    // CTAs for each sequence and key/value head: as many as the device holds at twice one a multiprocessor, but no fewer than four pages for each, a
    // power of two, so that growing contexts ask for few recordings.
    private int Splits(int ctas, int longestContext)
    {
        int most = Math.Min(MostLargeCtas * Multiprocessors / ctas, longestContext / (LeastPagesASplit * PageTokens));
        return 1 << int.Clamp(int.Log2(Math.Max(most, 1)), 0, MostSplitsLog2);
    }

    private int PerMultiprocessor(int ctas) => (ctas + Multiprocessors - 1) / Multiprocessors;

    // CTAs of four warps that fit a multiprocessor. Their registers allow three up to 128 columns, else two.
    private int Resident(SplitShape shape) =>
        Math.Min(HeadDim <= 128 ? 3 : 2, (SharedBytesPerBlock + SystemBytes) / (SharedBytes(shape.Splits, shape.Slots) + OwnBytes + SystemBytes));

    // Slots that each of so many CTAs of a multiprocessor may have.
    private int Room(int splits, int ctas) => Math.Min(MostSlots, (((SharedBytesPerBlock + SystemBytes) / ctas) - SystemBytes - OwnBytes - SharedBytes(splits, 0)) / PageBytes);

    // Of every warp; fewer than two where not even these fit.
    private int Stages(int splits)
    {
        int stages = HeadDim <= 64 ? 4 : HeadDim <= 128 && splits == 1 ? 3 : FewestStages;
        while (stages >= FewestStages && SharedBytes(splits, MostWarps * stages) + OwnBytes > SharedBytesPerBlock) stages--;
        return stages;
    }
}

/// <summary>How attention_split.cu is launched.</summary>
/// <param name="Splits">CTAs for each sequence and key/value head.</param>
/// <param name="Warps">Of a CTA.</param>
/// <param name="Slots">Pages in flight for a CTA.</param>
internal readonly record struct SplitShape(int Splits, int Warps, int Slots);
