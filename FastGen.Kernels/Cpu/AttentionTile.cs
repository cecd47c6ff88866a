namespace FastGen.Kernels.Cpu;

/// <summary>The queries that go through the cache together and what they have gathered, in a worker's scratch memory.</summary>
internal unsafe struct AttentionTile
{
    /// <summary>Most queries of a tile, of all instruction sets.</summary>
    private const int MostQueries = 12;

    private readonly int _mixedStride;

    /// <param name="scratch"><see cref="Floats"/> floats.</param>
    /// <param name="headDim">Columns of a query.</param>
    /// <param name="scoreStride">Floats from one query's scores to the next's.</param>
    /// <param name="mixedStride">Floats from one query's mixture to the next's.</param>
    public AttentionTile(float* scratch, int headDim, int scoreStride, int mixedStride)
    {
        _mixedStride = mixedStride;
        Query = scratch;
        Scores = Query + (MostQueries * headDim);
        Weights = Scores + ((MostQueries + 1) * scoreStride);
        Mixed = Weights + (MostQueries * scoreStride);
        Largest = Mixed + (MostQueries * mixedStride);
        Sums = Largest + MostQueries;
    }

    /// <summary>[head column][query], scaled.</summary>
    public float* Query { get; }

    /// <summary>[query][token of the chunk]</summary>
    public float* Scores { get; }

    /// <summary>[token of the chunk][query]: exponentials of the scores relative to <see cref="Largest"/>.</summary>
    public float* Weights { get; }

    /// <summary>[query][head column]: the sum of weight · value so far.</summary>
    public float* Mixed { get; }

    /// <summary>[query] The largest score so far.</summary>
    public float* Largest { get; }

    /// <summary>[query] The sum of weights so far.</summary>
    public float* Sums { get; }

    /// <summary>Queries in use.</summary>
    public int Queries { get; private set; }

    /// <summary>Queries as packed.</summary>
    public int Height { get; private set; }

    /// <summary>Floats of scratch that a tile needs.</summary>
    public static long Floats(int headDim, int scoreStride, int mixedStride) => MostQueries * ((long)headDim + (3 * scoreStride) + mixedStride + 2);

    /// <summary>Starts with <paramref name="queries"/> that have seen nothing.</summary>
    public void Begin(int queries, int height)
    {
        (Queries, Height) = (queries, height);
        new Span<float>(Mixed, height * _mixedStride).Clear();
        new Span<float>(Largest, height).Fill(float.NegativeInfinity);
        new Span<float>(Sums, height).Clear();
    }
}
