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

    private const int Warps = 4;
    static AttentionSplitting()
    {
        if (Environment.GetEnvironmentVariable("FG_VARIANT") is not { Length: > 0 } text) return;
        string[] v = text.Split(',');
        (VarWarps, VarResident, VarDirect, VarBound, VarSlots) = (int.Parse(v[0]), int.Parse(v[1]), int.Parse(v[2]), int.Parse(v[3]), int.Parse(v[4]));
        if (v.Length > 5) VarClusterWarps = int.Parse(v[5]);
    }

    public static int VarClusterWarps = 4, VarClusterBound, VarWarps = 4, VarResident, VarDirect, VarBound, VarSlots, VarSplits;
    private const int FewestStages = 2;
    private const int LeastPagesASplit = 4;
    private const int MostSplitsLog2 = 5;
    private const int LargestCluster = 8;
    private const int Alignment = 128;
    private const int MostSlots = 16;

    /// <summary>Whether the kernel's rings and own variables fit the device.</summary>
    public bool Fits => Stages(splits: 2) >= FewestStages;

    private int PageBytes => PageTokens * HeadDim * 2 * sizeof(ushort);

    /// <summary>
    /// CTAs for each sequence and key/value head: as many as the device holds at twice one an SM, but no fewer than four pages for each, a power of
    /// two, so that growing contexts ask for few recordings.
    /// </summary>
    public int Splits(int sequences, int longestContext)
    {
        int most = Math.Min(2 * Multiprocessors / (sequences * KvHeads), longestContext / (LeastPagesASplit * PageTokens));
        if (VarSplits > 0) return Math.Min(VarSplits, 1 << int.Clamp(int.Log2(Math.Max(most, 1)), 0, MostSplitsLog2));
        return 1 << int.Clamp(int.Log2(Math.Max(most, 1)), 0, MostSplitsLog2);
    }

    /// <summary>Pages in flight for a CTA of four warps. Where it has few, all of them, so that the CTAs may still fit beside those of the product before.</summary>
    public int Slots(int splits, int longestContext)
    {
        if (Hopper && splits == 1 && VarResident > 0)
        {
            for (int resident = VarResident; ; resident--)
            {
                int fit = Math.Min(MostSlots, (((SharedBytesPerBlock + 1024) / resident) - 1024 - OwnBytes) / PageBytes);
                if (fit >= 3 || resident == 1) return fit;
            }
        }
        if (Hopper && splits > 1 && VarSlots > 0) return Math.Min(((SharedBytesPerBlock - OwnBytes - SharedBytes(splits, 0)) / PageBytes), Math.Min(VarSlots, Math.Max(5, (((longestContext + PageTokens - 1) / PageTokens) + splits - 1) / splits)));
        int pages = (((longestContext + PageTokens - 1) / PageTokens) + splits - 1) / splits, all = Warps * Stages(splits);
        return splits == 1 || !Hopper || pages > all ? all : pages <= 5 ? 5 : pages <= 6 ? 6 : 8;
    }

    /// <summary>Stages that the kernel is compiled for; 0 on Hopper, where it takes any number of slots.</summary>
    public int CompiledStages(int slots) => Hopper ? 0 : slots / Warps;

    public int WarpsOf(int splits) => !Hopper ? 4 : splits == 1 ? VarWarps : Cluster(splits) > 1 ? VarClusterWarps : 4;

    /// <summary>CTAs of a cluster: splits that fit one meet in it, others through memory.</summary>
    public int Cluster(int splits) => Hopper && splits is > 1 and <= LargestCluster ? splits : 1;

    /// <summary>Dynamic shared memory of a CTA.</summary>
    public int SharedBytes(int splits, int slots) => (slots * PageBytes) + (Cluster(splits) > 1 ? (VarClusterWarps * (HeadDim + 16)) * Group * sizeof(float) : 0);

    /// <summary>At least what the kernel declares for itself: queries, the new key and value, barriers, and what its warps hand each other.</summary>
    public int OwnBytes => (Group * (HeadDim + 8) * sizeof(ushort)) + (2 * HeadDim * sizeof(ushort)) + (Hopper ? MostSlots * sizeof(ulong) : 0) + (2 * Warps * Group * sizeof(float)) + Alignment;

    // Of every warp; fewer than two where not even these fit.
    private int Stages(int splits)
    {
        int stages = HeadDim <= 64 ? 4 : HeadDim <= 128 && splits == 1 ? 3 : FewestStages;
        while (stages >= FewestStages && SharedBytes(splits, Warps * stages) + OwnBytes > SharedBytesPerBlock) stages--;
        return stages;
    }
}
