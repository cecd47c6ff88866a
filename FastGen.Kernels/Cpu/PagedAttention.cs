using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>
/// Attention over the paged cache with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022). A tile of queries that share a
/// kv head, from some rows and some heads, goes through the context chunk by chunk. Chunks begin at fixed positions and what a query does not see
/// counts as exactly nothing, so a row's result does not depend on the other queries of its tile, nor on how its prompt was cut. Several tiles go
/// side by side: those of one head find each chunk in the core's own cache, those of several heads read each block as it lies in memory.
/// </summary>
internal readonly unsafe struct AttentionWork<TSimd, TVector> : IParallelWork
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private const int ChunkTokens = 64;
    private const int TilesAtOnce = 16;

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
        _scratch = WorkerScratch.Take(scratch, workers, (2 * AttentionTile.ScoreFloats(_scoreStride)) + (TilesAtOnce * AttentionTile.Floats(_headDim, _mixedStride)));
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
        AttentionPlace* places = stackalloc AttentionPlace[TilesAtOnce];
        int waiting = 0;
        for (int sequence = 0; sequence < _batch.Sequences; sequence++)
        {
            for (int headTile = 0; headTile < _kvHeads * _headTiles; headTile++)
            {
                for (int row = _batch.Starts[sequence]; row < _batch.Starts[sequence + 1]; row += _rowsPerTile)
                {
                    if (done >= start && done < end) places[waiting++] = Place(sequence, row, headTile / _headTiles, headTile % _headTiles);
                    done += Cost(sequence, row);
                    if (waiting == TilesAtOnce) Attend(sequence, places, ref waiting, _scratch.Of(worker));
                }
            }
            if (waiting > 0) Attend(sequence, places, ref waiting, _scratch.Of(worker));
        }
    }

    // Tokens that the tile's last row sees, and something for its beginning and end.
    private long Cost(int sequence, int row)
    {
        int last = Math.Min(row + _rowsPerTile, _batch.Starts[sequence + 1]) - 1;
        return Math.Min(_batch.Positions[last] + 1, _window) + ChunkTokens;
    }

    private AttentionPlace Place(int sequence, int firstRow, int kvHead, int headTile)
    {
        int group = _heads / _kvHeads, firstHead = headTile * _headsPerTile;
        int heads = Math.Min(_headsPerTile, group - firstHead), rows = Math.Min(_rowsPerTile, _batch.Starts[sequence + 1] - firstRow);
        return new AttentionPlace(firstRow, rows, (kvHead * group) + firstHead, heads, kvHead, FirstSeen(_batch.Positions[firstRow]), _batch.Positions[firstRow + rows - 1] + 1);
    }

    private int FirstSeen(int position) => Math.Max(0, position - _window + 1);

    // The waiting tiles, all of one sequence, through all that any of them sees.
    private void Attend(int sequence, AttentionPlace* places, ref int waiting, float* scratch)
    {
        AttentionTile* tiles = stackalloc AttentionTile[TilesAtOnce];
        float* scores = scratch, weights = scores + AttentionTile.ScoreFloats(_scoreStride), states = weights + AttentionTile.ScoreFloats(_scoreStride);
        int firstSeen = int.MaxValue, end = 0, chunkTokens = _chunkBlocks * _cache.BlockSize;
        for (int i = 0; i < waiting; i++)
        {
            tiles[i] = new AttentionTile(states + (i * AttentionTile.Floats(_headDim, _mixedStride)), _headDim, _mixedStride, places[i], Tile<TSimd, TVector>.Height(places[i].Queries));
            LoadQueries(tiles[i]);
            (firstSeen, end) = (Math.Min(firstSeen, places[i].FirstSeen), Math.Max(end, places[i].End));
        }
        int* blocks = _blockTables + ((long)_batch.SequenceSlots[sequence] * _blocksPerSequence);
        for (int first = firstSeen / chunkTokens * chunkTokens; first < end; first += chunkTokens)
        {
            AttentionChunk chunk = new(first, blocks + (first / _cache.BlockSize), (end - first + _cache.BlockSize - 1) / _cache.BlockSize, scores, weights);
            for (int i = 0; i < waiting; i++)
            {
                if (first >= places[i].End || first + chunkTokens <= places[i].FirstSeen) continue;
                Attend(tiles[i], chunk, i + 1 < waiting ? (0, places[i + 1].KvHead) : (_chunkBlocks, places[0].KvHead));
            }
        }
        for (int i = 0; i < waiting; i++) StoreMixtures(tiles[i]);
        waiting = 0;
    }

    // One tile and one chunk; the keys of the block and the head that are named last are read next.
    private void Attend(in AttentionTile tile, in AttentionChunk chunk, (int Block, int Head) next)
    {
        AttentionPlace place = tile.Place;
        int firstBlock = Math.Max(0, (place.FirstSeen - chunk.First) / _cache.BlockSize);
        int endBlock = Math.Min(_chunkBlocks, (place.End - chunk.First + _cache.BlockSize - 1) / _cache.BlockSize);
        Score(tile, chunk, firstBlock, endBlock);
        for (int query = 0; query < place.Queries; query++) Weigh(tile, chunk, query, firstBlock, endBlock);
        Transpose(tile, chunk, firstBlock * _cache.KeyStride, endBlock * _cache.KeyStride);
        Mix(tile, chunk, firstBlock, endBlock, next);
    }

    private void LoadQueries(in AttentionTile tile)
    {
        AttentionPlace place = tile.Place;
        for (int i = 0; i < tile.Height; i++)
        {
            float* query = _qkv + ((long)place.RowOf(i) * _qkvColumns) + ((long)place.HeadOf(i) * _headDim);
            for (int d = 0; d < _headDim; d++) tile.Query[(d * tile.Height) + i] = i < place.Queries ? query[d] * _scale : 0;
        }
    }

    // scores[query, token] = query · key, two registers of tokens at a time. A register lies within one block.
    private void Score(in AttentionTile tile, in AttentionChunk chunk, int firstBlock, int endBlock)
    {
        int kvHead = tile.Place.KvHead, registers = _cache.KeyStride / TSimd.Lanes, end = endBlock * registers;
        for (int register = firstBlock * registers; register < end; register += 2)
        {
            FloatStream<TSimd, TVector> first = Keys(chunk, register, kvHead, firstBlock, endBlock), second = Keys(chunk, Math.Min(register + 1, end - 1), kvHead, firstBlock, endBlock);
            FloatPanel<TSimd, TVector> panel = new(first, second, _cache.KeyStride);
            Tile<TSimd, TVector>.Multiply(tile.Height, panel, tile.Query, _headDim, chunk.Scores + (register * TSimd.Lanes), _scoreStride, accumulate: false);
        }
    }

    // One register of keys; two blocks on come other keys, or the values of the first blocks.
    private FloatStream<TSimd, TVector> Keys(in AttentionChunk chunk, int register, int kvHead, int firstBlock, int endBlock)
    {
        (int block, int place) = Math.DivRem(register, _cache.KeyStride / TSimd.Lanes);
        float* keys = _cache.Keys(chunk.Blocks[block], kvHead);
        float* ahead = block + 2 < endBlock ? _cache.Keys(chunk.Blocks[block + 2], kvHead) : _cache.Values(chunk.Blocks[Math.Min(firstBlock + block + 2 - endBlock, endBlock - 1)], kvHead);
        return new FloatStream<TSimd, TVector>(keys + (place * TSimd.Lanes), (nint)(ahead - keys));
    }

    // Turns one query's scores into weights relative to the largest score so far, and rescales what was mixed before.
    private void Weigh(in AttentionTile tile, in AttentionChunk chunk, int query, int firstBlock, int endBlock)
    {
        int begin = firstBlock * _cache.KeyStride, end = endBlock * _cache.KeyStride, position = _batch.Positions[tile.Place.RowOf(query)];
        float* scores = chunk.Scores + ((long)query * _scoreStride);
        int firstToken = chunk.First + (firstBlock * _cache.BlockSize), endToken = chunk.First + (endBlock * _cache.BlockSize);
        if (position < firstToken || FirstSeen(position) >= endToken)
        {
            new Span<float>(scores + begin, end - begin).Clear();
            return;
        }
        bool seesAll = position >= endToken - 1 && FirstSeen(position) <= firstToken && _cache.KeyStride == _cache.BlockSize;
        float chunkLargest = seesAll && _alibiSlopes == null ? Largest(scores, begin, end) : MaskScores(scores, position, tile.Place.HeadOf(query), chunk.First, firstBlock, endBlock);
        float largest = MathF.Max(tile.Largest[query], chunkLargest);
        Rescale(tile, query, largest);
        TVector shift = TSimd.Broadcast(largest), sum = TSimd.Zero;
        for (int i = begin; i < end; i += TSimd.Lanes)
        {
            TVector weight = VectorMath<TSimd, TVector>.Exp(TSimd.Subtract(TSimd.Load(scores + i), shift));
            TSimd.Store(scores + i, weight);
            sum = TSimd.Add(sum, weight);
        }
        tile.Sums[query] += TSimd.Sum(sum);
    }

    private static float Largest(float* scores, int begin, int end)
    {
        TVector largest = TSimd.Load(scores + begin);
        for (int i = begin + TSimd.Lanes; i < end; i += TSimd.Lanes) largest = TSimd.Max(TSimd.Load(scores + i), largest);
        return TSimd.Largest(largest);
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
        float* mixed = tile.MixedOf(query);
        for (int d = 0; d < _mixedStride; d += TSimd.Lanes) TSimd.Store(mixed + d, TSimd.Multiply(TSimd.Load(mixed + d), factor));
    }

    // weights[token][query] from scores[query][token], four by four; the scores have rows to spare.
    private void Transpose(in AttentionTile tile, in AttentionChunk chunk, int begin, int end)
    {
        int query = 0, height = tile.Height;
        for (; query <= height - 4; query += 4)
        {
            float* scores = chunk.Scores + ((long)query * _scoreStride), weights = chunk.Weights + query;
            for (int i = begin; i < end; i += 4) Simd128.Transpose(scores + i, _scoreStride, weights + ((long)i * height), height);
        }
        for (; query < height; query++)
        {
            float* scores = chunk.Scores + ((long)query * _scoreStride), weights = chunk.Weights + query;
            for (int i = begin; i < end; i++) weights[(long)i * height] = scores[i];
        }
    }

    // mixed[query] += Σ over tokens of weight · value, block by block.
    private void Mix(in AttentionTile tile, in AttentionChunk chunk, int firstBlock, int endBlock, (int Block, int Head) next)
    {
        int kvHead = tile.Place.KvHead;
        for (int block = firstBlock; block < endBlock; block++)
        {
            int tokens = Math.Min(_cache.BlockSize, tile.Place.End - chunk.First - (block * _cache.BlockSize));
            float* values = _cache.Values(chunk.Blocks[block], kvHead), weights = chunk.Weights + ((long)block * _cache.KeyStride * tile.Height);
            // Two blocks on come other values, or the next keys.
            float* ahead = block + 2 < endBlock ? _cache.Values(chunk.Blocks[block + 2], kvHead) : _cache.Keys(chunk.Blocks[Math.Min(next.Block + block + 2 - endBlock, chunk.KnownBlocks - 1)], next.Head);
            for (int d = 0; d < _headDim; d += 2 * TSimd.Lanes)
            {
                int second = Math.Min(d + TSimd.Lanes, _cache.ValueStride - TSimd.Lanes);
                FloatPanel<TSimd, TVector> panel = new(new(values + d, (nint)(ahead - values)), new(values + second, (nint)(ahead - values)), _cache.ValueStride);
                Tile<TSimd, TVector>.Multiply(tile.Height, panel, weights, tokens, tile.Mixed + d, _mixedStride, accumulate: true);
            }
        }
    }

    private void StoreMixtures(in AttentionTile tile)
    {
        AttentionPlace place = tile.Place;
        for (int i = 0; i < place.Queries; i++)
        {
            float* target = _output + ((long)place.RowOf(i) * _heads * _headDim) + ((long)place.HeadOf(i) * _headDim);
            float* mixed = tile.MixedOf(i);
            float share = 1 / tile.Sums[i];
            for (int d = 0; d < _headDim; d++) target[d] = mixed[d] * share;
        }
    }

    private static int WholePairs(int count) => (count + (2 * TSimd.Lanes) - 1) / (2 * TSimd.Lanes) * 2 * TSimd.Lanes;
}
