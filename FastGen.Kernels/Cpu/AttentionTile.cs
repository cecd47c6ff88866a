namespace FastGen.Kernels.Cpu;

/// <summary>Queries that share a kv head and meet each key together, and what they have gathered so far, in a worker's scratch memory.</summary>
internal readonly unsafe struct AttentionTile
{
    /// <summary>Most queries of a tile, of all instruction sets.</summary>
    private const int MostQueries = 12;

    private readonly int _mixedStride;

    /// <summary>A tile that has seen nothing.</summary>
    /// <param name="scratch"><see cref="Floats"/> floats.</param>
    /// <param name="headDim">Columns of a query.</param>
    /// <param name="mixedStride">Floats from one query's mixture to the next's.</param>
    /// <param name="place">Which queries it holds.</param>
    /// <param name="height">Queries as packed.</param>
    public AttentionTile(float* scratch, int headDim, int mixedStride, AttentionPlace place, int height)
    {
        _mixedStride = mixedStride;
        (Place, Height) = (place, height);
        Query = scratch;
        Mixed = Query + (MostQueries * headDim);
        Largest = Mixed + (MostQueries * mixedStride);
        Sums = Largest + MostQueries;
        new Span<float>(Mixed, height * mixedStride).Clear();
        new Span<float>(Largest, height).Fill(float.NegativeInfinity);
        new Span<float>(Sums, height).Clear();
    }

    /// <summary>Which queries it holds.</summary>
    public AttentionPlace Place { get; }

    /// <summary>Queries as packed.</summary>
    public int Height { get; }

    /// <summary>[head column][query], scaled.</summary>
    public float* Query { get; }

    /// <summary>[query] The largest score so far.</summary>
    public float* Largest { get; }

    /// <summary>[query] The sum of weights so far.</summary>
    public float* Sums { get; }

    /// <summary>[query][head column]: the sum of weight · value so far.</summary>
    public float* Mixed { get; }

    /// <summary>The mixture of one query.</summary>
    public float* MixedOf(int query) => Mixed + ((long)query * _mixedStride);

    /// <summary>Floats of scratch that a tile needs.</summary>
    public static long Floats(int headDim, int mixedStride) => MostQueries * ((long)headDim + mixedStride + 2);

    /// <summary>Floats that the scores of a tile need, or its weights: a row more than queries, since two registers are stored at once.</summary>
    public static long ScoreFloats(int scoreStride) => (MostQueries + 1) * (long)scoreStride;
}

/// <summary>Which queries a tile holds: some rows of one sequence, in each some heads that share a kv head.</summary>
/// <param name="FirstRow">First row of the batch.</param>
/// <param name="Rows">Number of rows.</param>
/// <param name="FirstHead">First query head.</param>
/// <param name="Heads">Number of query heads.</param>
/// <param name="KvHead">The kv head of all.</param>
/// <param name="FirstSeen">First position that the first row sees.</param>
/// <param name="End">The position after the last row's.</param>
internal readonly record struct AttentionPlace(int FirstRow, int Rows, int FirstHead, int Heads, int KvHead, int FirstSeen, int End)
{
    /// <summary>Queries of the tile: row by row, head by head.</summary>
    public int Queries => Rows * Heads;

    /// <summary>The row of the batch that a query stands in.</summary>
    public int RowOf(int query) => FirstRow + (query / Heads);

    /// <summary>The query head of a query.</summary>
    public int HeadOf(int query) => FirstHead + (query % Heads);
}

/// <summary>A chunk of the context, and room for what one tile makes of it.</summary>
/// <param name="first">Position of its first token.</param>
/// <param name="blocks">Its blocks, and those after it.</param>
/// <param name="knownBlocks">How many of them the sequence has.</param>
/// <param name="scores"><see cref="AttentionTile.ScoreFloats"/> floats.</param>
/// <param name="weights">As many.</param>
internal readonly unsafe struct AttentionChunk(int first, int* blocks, int knownBlocks, float* scores, float* weights)
{
    public readonly int First = first, KnownBlocks = knownBlocks;
    public readonly int* Blocks = blocks;

    /// <summary>[query][token]</summary>
    public readonly float* Scores = scores;

    /// <summary>[token][query]: exponentials of the scores relative to <see cref="AttentionTile.Largest"/>.</summary>
    public readonly float* Weights = weights;
}
