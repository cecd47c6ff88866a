using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>
/// Attention over the paged cache with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022). A tile of queries that share a
/// kv head, from some rows and some heads, goes through the context chunk by chunk. Chunks begin at fixed positions and what a query does not see
/// counts as exactly nothing, so a row's result does not depend on the other queries of its tile, nor on how its prompt was cut.
/// </summary>
internal readonly unsafe struct AttentionWork<TSimd, TVector> : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private const int ChunkTokens = 64;

    private readonly float* _output, _qkv, _alibiSlopes;
    private readonly KvBlocks<TSimd, TVector> _cache;
    private readonly BatchPointers _batch;
    private readonly int* _blockTables;
    private readonly int _blocksPerSequence, _heads, _kvHeads, _headDim, _qkvColumns, _window;
    private readonly int _chunkBlocks, _scoreStride, _mixedStride, _headsPerTile, _rowsPerTile, _headTiles;
    private readonly float _scale;
    private readonly WorkerScratch _scratch;

    public AttentionWork(Tensor output, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch, int* blockTables, int blocksPerSequence, Scratch scratch, int workers)
    {
        _output = (float*)output.Data;
        _qkv = (float*)qkv.Data;
        _alibiSlopes = attention.AlibiSlopes is { } slopes ? (float*)slopes.Data : null;
        _cache = new KvBlocks<TSimd, TVector>(cache);
        _batch = new BatchPointers(batch);
        _blockTables = blockTables;
        _blocksPerSequence = blocksPerSequence;
        (_heads, _kvHeads, _headDim, _qkvColumns) = (attention.Heads, attention.KvHeads, attention.HeadDim, attention.QkvColumns);
        (_window, _scale) = (attention.Window == 0 ? int.MaxValue : attention.Window, attention.Scale);

        _chunkBlocks = Math.Max(1, ChunkTokens / cache.BlockSize);
        _scoreStride = WholePairs(_chunkBlocks * _cache.KeyStride);
        _mixedStride = WholePairs(_headDim);
        int group = _heads / _kvHeads;
        _headsPerTile = Math.Min(group, TSimd.TileRows);
        _rowsPerTile = TSimd.TileRows / _headsPerTile;
        _headTiles = (group + _headsPerTile - 1) / _headsPerTile;
        _scratch = WorkerScratch.Take(scratch, workers, AttentionTile.Floats(_headDim, _scoreStride, _mixedStride));
    }

    public void Run(int worker, int workers)
    {
        // Every worker walks all tiles and does those whose cost, counted from the first, falls in its share.
        long total = 0;
        for (int sequence = 0; sequence < _batch.Sequences; sequence++)
        {
            for (int row = _batch.Starts[sequence]; row < _batch.Starts[sequence + 1]; row += _rowsPerTile) total += Cost(sequence, row) * _kvHeads * _headTiles;
        }
        long start = total * worker / workers, end = total * (worker + 1) / workers, done = 0;
        AttentionTile tile = new(_scratch.Of(worker), _headDim, _scoreStride, _mixedStride);
        for (int sequence = 0; sequence < _batch.Sequences; sequence++)
        {
            for (int headTile = 0; headTile < _kvHeads * _headTiles; headTile++)
            {
                for (int row = _batch.Starts[sequence]; row < _batch.Starts[sequence + 1]; row += _rowsPerTile)
                {
                    if (done >= start && done < end) Attend(ref tile, sequence, row, headTile / _headTiles, headTile % _headTiles);
                    done += Cost(sequence, row);
                }
            }
        }
    }

    // Tokens that the tile's last row sees, and something for its beginning and end.
    private long Cost(int sequence, int row)
    {
        int last = Math.Min(row + _rowsPerTile, _batch.Starts[sequence + 1]) - 1;
        return Math.Min(_batch.Positions[last] + 1, _window) + ChunkTokens;
    }

    private void Attend(ref AttentionTile tile, int sequence, int firstRow, int kvHead, int headTile)
    {
        int group = _heads / _kvHeads, firstHead = headTile * _headsPerTile;
        int heads = Math.Min(_headsPerTile, group - firstHead), rows = Math.Min(_rowsPerTile, _batch.Starts[sequence + 1] - firstRow);
        firstHead += kvHead * group;
        LoadQueries(ref tile, firstRow, rows, firstHead, heads);

        int* blocks = _blockTables + ((long)_batch.SequenceSlots[sequence] * _blocksPerSequence);
        int firstPosition = _batch.Positions[firstRow], end = _batch.Positions[firstRow + rows - 1] + 1, chunkTokens = _chunkBlocks * _cache.BlockSize;
        for (int chunk = FirstSeen(firstPosition) / chunkTokens * chunkTokens; chunk < end; chunk += chunkTokens)
        {
            int chunkBlocks = Math.Min(_chunkBlocks, ((end - chunk) + _cache.BlockSize - 1) / _cache.BlockSize);
            int* chunkTable = blocks + (chunk / _cache.BlockSize);
            int skippedBlocks = Math.Max(0, (FirstSeen(firstPosition) - chunk) / _cache.BlockSize);
            Score(tile, chunkTable, skippedBlocks, chunkBlocks, kvHead);
            for (int i = 0; i < tile.Queries; i++) Weigh(tile, i, _batch.Positions[firstRow + (i / heads)], firstHead + (i % heads), chunk, skippedBlocks, chunkBlocks);
            Mix(tile, chunkTable, chunk, skippedBlocks, chunkBlocks, end, kvHead);
        }
        StoreMixtures(tile, firstRow, firstHead, heads);
    }

    private int FirstSeen(int position) => Math.Max(0, position - _window + 1);

    private void LoadQueries(ref AttentionTile tile, int firstRow, int rows, int firstHead, int heads)
    {
        tile.Begin(rows * heads, Tile<TSimd, TVector>.Height(rows * heads));
        for (int i = 0; i < tile.Height; i++)
        {
            float* query = _qkv + ((long)(firstRow + (i / heads)) * _qkvColumns) + ((firstHead + (i % heads)) * _headDim);
            for (int d = 0; d < _headDim; d++) tile.Query[(d * tile.Height) + i] = i < tile.Queries ? query[d] * _scale : 0;
        }
    }

    // scores[query, token] = query · key, two registers of tokens at a time. A register lies within one block.
    private void Score(in AttentionTile tile, int* blocks, int firstBlock, int endBlock, int kvHead)
    {
        int registers = _cache.KeyStride / TSimd.Lanes, end = endBlock * registers;
        for (int register = firstBlock * registers; register < end; register += 2)
        {
            int second = Math.Min(register + 1, end - 1);
            float* firstKeys = _cache.Keys(blocks[register / registers], kvHead) + (register % registers * TSimd.Lanes);
            float* secondKeys = _cache.Keys(blocks[second / registers], kvHead) + (second % registers * TSimd.Lanes);
            // A block's values follow its keys and are read next.
            nint ahead = sizeof(float) * _headDim * _cache.KeyStride;
            FloatPanel<TSimd, TVector> panel = new(firstKeys, secondKeys, _cache.KeyStride, ahead);
            Tile<TSimd, TVector>.Multiply(tile.Height, panel, tile.Query, _headDim, tile.Scores + (register * TSimd.Lanes), _scoreStride, accumulate: false);
        }
    }

    // Turns one query's scores into weights relative to the largest score so far, and rescales what was mixed before.
    private void Weigh(in AttentionTile tile, int query, int position, int head, int chunk, int firstBlock, int endBlock)
    {
        int begin = firstBlock * _cache.KeyStride, end = endBlock * _cache.KeyStride;
        float* scores = tile.Scores + (query * _scoreStride), weights = tile.Weights + query;
        if (position < chunk || FirstSeen(position) >= chunk + (endBlock * _cache.BlockSize))
        {
            for (int i = begin; i < end; i++) weights[i * tile.Height] = 0;
            return;
        }
        float largest = MathF.Max(tile.Largest[query], MaskScores(scores, position, head, chunk, firstBlock, endBlock));
        Rescale(tile, query, largest);
        TVector shift = TSimd.Broadcast(largest), sum = TSimd.Zero;
        for (int i = begin; i < end; i += TSimd.Lanes)
        {
            TVector weight = VectorMath<TSimd, TVector>.Exp(TSimd.Subtract(TSimd.Load(scores + i), shift));
            TSimd.Store(scores + i, weight);
            sum = TSimd.Add(sum, weight);
        }
        tile.Sums[query] += TSimd.Sum(sum);
        for (int i = begin; i < end; i++) weights[i * tile.Height] = scores[i];
    }

    // Adds ALiBi, sets the scores of tokens that the query does not see to −∞ and returns the largest.
    private float MaskScores(float* scores, int position, int head, int chunk, int firstBlock, int endBlock)
    {
        TVector hidden = TSimd.Broadcast(float.NegativeInfinity), largest = hidden;
        TVector slope = TSimd.Broadcast(_alibiSlopes == null ? 0 : _alibiSlopes[head]);
        int firstSeen = FirstSeen(position);
        for (int block = firstBlock; block < endBlock; block++)
        {
            for (int token = 0; token < _cache.KeyStride; token += TSimd.Lanes)
            {
                float* place = scores + (block * _cache.KeyStride) + token;
                int first = chunk + (block * _cache.BlockSize) + token;
                int low = firstSeen - first, high = Math.Min(position + 1 - first, _cache.BlockSize - token);
                TVector score = TSimd.Load(place);
                if (_alibiSlopes != null) score = TSimd.MultiplyAdd(slope, TSimd.Add(TSimd.Indices, TSimd.Broadcast(first - position)), score);
                if (low > 0) score = TSimd.SelectLess(TSimd.Indices, TSimd.Broadcast(low), hidden, score);
                if (high < TSimd.Lanes) score = TSimd.SelectLess(TSimd.Indices, TSimd.Broadcast(high), score, hidden);
                TSimd.Store(place, score);
                largest = TSimd.Max(score, largest);
            }
        }
        return TSimd.Largest(largest);
    }

    private void Rescale(in AttentionTile tile, int query, float largest)
    {
        float before = tile.Largest[query];
        tile.Largest[query] = largest;
        if (before == largest || float.IsNegativeInfinity(before)) return;
        TVector factor = VectorMath<TSimd, TVector>.Exp(TSimd.Broadcast(before - largest));
        tile.Sums[query] *= TSimd.First(factor);
        float* mixed = tile.Mixed + (query * _mixedStride);
        for (int d = 0; d < _mixedStride; d += TSimd.Lanes) TSimd.Store(mixed + d, TSimd.Multiply(TSimd.Load(mixed + d), factor));
    }

    // mixed[query] += Σ over tokens of weight · value, block by block.
    private void Mix(in AttentionTile tile, int* blocks, int chunk, int firstBlock, int endBlock, int end, int kvHead)
    {
        for (int block = firstBlock; block < endBlock; block++)
        {
            int tokens = Math.Min(_cache.BlockSize, end - chunk - (block * _cache.BlockSize));
            float* values = _cache.Values(blocks[block], kvHead);
            float* weights = tile.Weights + ((long)block * _cache.KeyStride * tile.Height);
            // The keys of the next chunk are read after these values.
            int next = block + _chunkBlocks;
            nint ahead = chunk + (next * _cache.BlockSize) < end ? (nint)((byte*)_cache.Keys(blocks[next], kvHead) - (byte*)values) : 0;
            for (int d = 0; d < _headDim; d += 2 * TSimd.Lanes)
            {
                float* second = values + Math.Min(d + TSimd.Lanes, _cache.ValueStride - TSimd.Lanes);
                Tile<TSimd, TVector>.Multiply(tile.Height, new FloatPanel<TSimd, TVector>(values + d, second, _cache.ValueStride, ahead), weights, tokens, tile.Mixed + d, _mixedStride, accumulate: true);
            }
        }
    }

    private void StoreMixtures(in AttentionTile tile, int firstRow, int firstHead, int heads)
    {
        for (int i = 0; i < tile.Queries; i++)
        {
            float* target = _output + ((long)(firstRow + (i / heads)) * _heads * _headDim) + ((firstHead + (i % heads)) * _headDim);
            float share = 1 / tile.Sums[i];
            for (int d = 0; d < _headDim; d++) target[d] = tile.Mixed[(i * _mixedStride) + d] * share;
        }
    }

    private static int WholePairs(int count) => (count + (2 * TSimd.Lanes) - 1) / (2 * TSimd.Lanes) * 2 * TSimd.Lanes;
}
