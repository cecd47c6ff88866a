using FastGen.Compute;

namespace FastGen.Kernels.Cuda.Steps;

/// <summary>
/// How the attention of chunks (tiles), which arithmetic bounds, and that of decodes (split), which memory bounds, share the multiprocessors of a step that has both. Few
/// multiprocessors saturate the memory; the tiles' resident CTAs take the others.
/// </summary>
/// <param name="Multiprocessors">Of the device.</param>
/// <param name="TileOperations">Floating-point operations of all tiles and heads, two for each product that is added up.</param>
/// <param name="SplitBytes">Bytes of keys and values that the decodes read.</param>
internal readonly record struct AttentionSharing(int Multiprocessors, double TileOperations, double SplitBytes)
{
    // Measured on an H200; other devices are taken for parts of one.
    private const int MeasuredMultiprocessors = 132;
    private const int FewestOfMeasured = 16, MostOfMeasured = 56;
    private const double BytesPerSecondOfMeasured = 4.0e12;
    private const double OperationsPerSecond = 3.8e12;

    // Below, forking and joining cost what they save.
    private const double ShortestSeconds = 6e-6, ForkSeconds = 4e-6;

    private const int BytesPerElement = 2, OperationsPerProduct = 2;

    /// <summary>Multiprocessors that the decodes have at least.</summary>
    private int Fewest => Math.Max(1, FewestOfMeasured * Multiprocessors / MeasuredMultiprocessors);

    /// <summary>Multiprocessors that saturate the memory.</summary>
    private int Most => Math.Max(1, MostOfMeasured * Multiprocessors / MeasuredMultiprocessors);

    /// <summary>The sharing of one layer of a planned step.</summary>
    public static AttentionSharing Of(AttentionPlan plan, AttentionWeights attention, int multiprocessors)
    {
        long tileKeys = plan.TileKeys, singleKeys = plan.SingleKeys;
        if (attention.Window > 0)
        {
            int tileTokens = (plan.TileRows / (attention.Heads / attention.KvHeads)) + 1;
            tileKeys = Math.Min(tileKeys, (long)plan.TileCount * (attention.Window + tileTokens));
            singleKeys = Math.Min(singleKeys, (long)plan.SingleCount * attention.Window);
        }
        // Queries meet keys, and weights values; a decode reads both.
        double columns = 2.0 * attention.KvHeads * attention.HeadDim;
        return new AttentionSharing(multiprocessors, OperationsPerProduct * columns * plan.TileRows * tileKeys, BytesPerElement * columns * singleKeys);
    }

    /// <summary>Multiprocessors that tiles leave to the decodes beside them; 0 for one after the other.</summary>
    /// <param name="items">Tiles times key/value heads.</param>
    /// <param name="shares">CTAs of each item. Where there are several, each is resident and has this item alone.</param>
    /// <param name="always">Whether to share where it does not pay, too.</param>
    public int Reserved(int items, int shares, bool always = false)
    {
        int ctas = items * shares, rounds = (ctas + Multiprocessors - 1) / Multiprocessors, reserved = 0;
        double item = TileOperations / OperationsPerSecond / ctas, split = SplitBytes / (BytesPerSecondOfMeasured * Multiprocessors / MeasuredMultiprocessors);
        double apart = (rounds * item) + split, best = always ? double.PositiveInfinity : apart - ForkSeconds;
        if (!always && Math.Min(apart - split, split) < ShortestSeconds) return 0;
        // A resident CTA works on one item after another: only the numbers of CTAs matter that save the others a round.
        for (; ; rounds++)
        {
            int left = Math.Min(Multiprocessors - ((ctas + rounds - 1) / rounds), Most);
            // What the decodes have not read when the tiles end has the whole memory's rate from there on.
            double tiles = rounds * item, together = tiles + Math.Max(0, split - (tiles * left / Most));
            if (left >= Fewest && together < best) (best, reserved) = (together, left);
            if (left >= Most || rounds >= ctas || shares > 1) return reserved;
        }
    }
}
