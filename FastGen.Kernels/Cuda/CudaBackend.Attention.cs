using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;
using FastGen.Kernels.Cuda.Products;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private const int PageTokens = AttentionSplitting.PageTokens;
    private const int HeadsPerBlock = 4;
    private const int UnitsASplit = 4;
    private const int MostTileSplits = 8;

    private readonly TensorMaps _cacheMaps;
    private AttentionTiling _tiling;
    private AttentionSplitting _splitting;
    private PendingStore? _pending;

    /// <inheritdoc/>
    public void StoreKv(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        Check(qkv, cache, attention);
        BatchView view = View(batch);
        if (_replayable && _current == batch && Steps.SplitsSingles && HasTensorCoreKernel(cache, attention))
        {
            // A decode step's attention does this itself if it comes next; then queries and keys stay unrotated in their rows.
            _pending = new PendingStore(qkv, cache, attention, view);
            return;
        }
        Store(qkv, cache, attention, view);
    }

    /// <inheritdoc/>
    public void ProjectQkv(Tensor qkv, in LinearInput input, LinearWeights weights, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        Check(qkv, cache, attention);
        // A recorded decode step stores in its attention.
        bool recorded = _replayable && _current == batch;
        if (!recorded && _products.TryHeads(qkv, input, weights, cache, attention, PageOf(cache.BlockSize), View(batch))) return;
        Linear(qkv, input, weights);
        StoreKv(qkv, cache, attention, batch);
    }

    /// <inheritdoc/>
    public void ProjectQkvAndUp(Tensor qkv, Tensor up, in LinearInput input, LinearWeights qkvWeights, LinearWeights upWeights, Activation activation, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        Enter();
        if (_products.TryBeside(qkv, input, qkvWeights, new SecondProduct(SecondKind.Beside, up, upWeights), activation))
        {
            StoreKv(qkv, cache, attention, batch);
            return;
        }
        LinearInput rows = new(_products.Prepared(input, qkvWeights.Weight.Type));
        Linear(up, rows, upWeights, activation);
        ProjectQkv(qkv, rows, qkvWeights, cache, attention, batch);
    }

    private void StorePending()
    {
        if (_pending is not { } pending) return;
        _pending = null;
        Store(pending.Qkv, pending.Cache, pending.Attention, pending.View);
    }

    private void Store(Tensor qkv, KvLayer cache, AttentionWeights attention, BatchView view)
    {
        // Many rows: a CTA for each; few: a CTA for every eight heads.
        int heads = attention.Heads + (2 * attention.KvHeads), warps = 8;
        StoreArguments arguments = new()
        {
            Batch = view,
            Qkv = qkv.Data,
            Cache = cache.Storage.Data,
            Heads = new HeadArguments(attention),
            HeadsPerBlock = qkv.Rows >= _device.Multiprocessors ? heads : warps,
        };
        _kernels.Get("store_kv", "store_kv", ConstantsOf(cache, attention)).Launch(arguments, (qkv.Rows, (heads + arguments.HeadsPerBlock - 1) / arguments.HeadsPerBlock, 1), threads: 32 * warps);
    }

    /// <inheritdoc/>
    public void Attention(Tensor output, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        Check(qkv, cache, attention);
        bool fused = _pending is { } pending && pending.Qkv.Data == qkv.Data && pending.Cache == cache && ReferenceEquals(pending.Attention, attention);
        if (fused) _pending = null;
        AttentionArguments arguments = new()
        {
            Batch = View(batch),
            Plan = Steps.PlanAddress,
            Qkv = qkv.Data,
            Cache = cache.Storage.Data,
            Output = output.Data,
            BlockTables = Steps.BlockTables,
            Slopes = attention.AlibiSlopes?.Data ?? 0,
            Scale = attention.Scale,
            Heads = attention.Heads,
            KvHeads = attention.KvHeads,
            Window = attention.Window,
            BlockSize = cache.BlockSize,
            BlocksPerSequence = Steps.Limits.BlocksPerSequence,
        };
        if (HasTensorCoreKernel(cache, attention))
        {
            AttendOnTensorCores(arguments, qkv, cache, attention, batch, fused);
            return;
        }
        _kernels.Get("attention", "attention", ConstantsOf(cache, attention)).Launch(arguments, (qkv.Rows, (attention.Heads + HeadsPerBlock - 1) / HeadsPerBlock, 1), threads: 32 * HeadsPerBlock);
    }

    private static KernelConstants ConstantsOf(KvLayer cache, AttentionWeights attention) =>
        new() { In = cache.Storage.Type, HeadDim = attention.HeadDim, Group = attention.Heads / attention.KvHeads, Page = PageOf(cache.BlockSize) };

    // Pages of 16 tokens where a block is a multiple of them, else the block itself is the page.
    private static int PageOf(int blockSize) => blockSize % PageTokens == 0 ? PageTokens : blockSize;

    private static void Check(Tensor qkv, KvLayer cache, AttentionWeights attention)
    {
        if (qkv.Type != DType.F32) throw new ArgumentException($"Queries, keys and values come as {DType.F32}, not as {qkv.Type}; {nameof(PrecisionFor)} says so.", nameof(qkv));
        if (cache.KvHeads != attention.KvHeads || cache.HeadDim != attention.HeadDim) throw new ArgumentException($"The cache holds {cache.KvHeads} heads of {cache.HeadDim}, the layer has {attention.KvHeads} of {attention.HeadDim}.", nameof(cache));
    }

    private bool HasTensorCoreKernel(KvLayer cache, AttentionWeights attention) =>
        cache.Storage.Type != DType.F32 && attention.HeadDim % 16 == 0 && attention.HeadDim <= 256 && PageOf(cache.BlockSize) == PageTokens && attention.Heads / attention.KvHeads == Steps.Group && attention.HeadDim == Steps.HeadDim
        && _tiling.Fits(attention.HeadDim, _device.SharedBytesPerBlock) && (!Steps.SplitsSingles || _splitting.Fits);

    private void AttendOnTensorCores(AttentionArguments arguments, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch, bool fused)
    {
        int group = attention.Heads / attention.KvHeads;
        // A replayed step has room for every sequence of its bucket; the kernels read how many there are.
        bool replayed = _replayable && _current == batch;
        int singles = !replayed ? Steps.Plan.SingleCount : Steps.SplitsSingles ? qkv.Rows : 0;
        int tiles = !replayed ? Steps.Plan.TileCount : Steps.SplitsSingles ? 0 : qkv.Rows * ((group + _tiling.Rows - 1) / _tiling.Rows);
        int reserved = tiles > 0 && singles > 0 && !replayed ? ReservedForSingles(tiles, attention) : 0;
        SplitLaunch split = singles > 0 ? PrepareSplit(arguments, singles, attention) : default;
        if (reserved == 0)
        {
            if (tiles > 0) AttendTiles(arguments, tiles, cache, attention, replayed, _device.Multiprocessors);
            if (singles > 0) LaunchSplit(split, cache, attention, fused, beside: false);
            return;
        }
        // They depend on what comes before, not on each other, and write different rows. Scratch that is new to the split was zeroed on the stream: before the fork.
        _device.Fork();
        try
        {
            // First, so that its resident CTAs have multiprocessors of their own.
            AttendTiles(arguments, tiles, cache, attention, replayed, _device.Multiprocessors - reserved);
            LaunchSplit(split, cache, attention, fused, beside: true);
        }
        finally
        {
            // Whatever failed: nothing that comes later may overtake what was queued.
            _device.Join();
        }
    }

    // Multiprocessors that the tiles leave to the sequences with one new token, whose kernel then runs beside; 0 for one kernel after the other.
    private int ReservedForSingles(int tiles, AttentionWeights attention)
    {
        if (_tiling.Warpgroups == 0 || SharesAttention == false) return 0;
        int items = tiles * attention.KvHeads;
        return AttentionSharing.Of(Steps.Plan, attention, _device.Multiprocessors).Reserved(items, TileSplits(items), always: SharesAttention == true);
    }

    private SplitLaunch PrepareSplit(AttentionArguments arguments, int singles, AttentionWeights attention)
    {
        int group = attention.Heads / attention.KvHeads;
        SplitShape shape = _splitting.Shape(singles, _longestContext, _singleKeys);
        SplitArguments splitArguments = new()
        {
            Common = arguments,
            Partials = _scratch.Get(ScratchUse.AttentionPartials, (long)singles * attention.KvHeads * shape.Splits * group * (attention.HeadDim + 2) * sizeof(float)),
            Counters = _scratch.Get(ScratchUse.AttentionCounters, (long)singles * attention.KvHeads * sizeof(uint)),
            Heads = new HeadArguments(attention),
            Slots = shape.Slots,
        };
        return new SplitLaunch(splitArguments, singles, shape);
    }

    private void LaunchSplit(in SplitLaunch launch, KvLayer cache, AttentionWeights attention, bool fused, bool beside)
    {
        SplitShape shape = launch.Shape;
        int cluster = _splitting.Cluster(shape.Splits);
        _kernels.Get("attention_split", "attention_split", ConstantsOf(cache, attention) with { Fused = fused, Shape = (_splitting.CompiledStages(shape), cluster, shape.Warps, 0) })
            .Launch(launch.Arguments, (attention.KvHeads, shape.Splits, launch.Singles), threads: 32 * shape.Warps, _splitting.SharedBytes(shape.Splits, shape.Slots), cluster, clusterAlongY: true, beside);
    }

    private void AttendTiles(AttentionArguments arguments, int tiles, KvLayer cache, AttentionWeights attention, bool replayed, int multiprocessors)
    {
        TilesArguments tileArguments = new() { Common = arguments, Tiles = Steps.PlanAddress + (Steps.Plan.TilesOffset * sizeof(int)) };
        KernelConstants constants = ConstantsOf(cache, attention);
        int headDim = attention.HeadDim;
        if (_tiling.Warpgroups == 0)
        {
            _kernels.Get("attention_tiles", "attention_tiles", constants).Launch(tileArguments, (tiles, attention.KvHeads, 1), threads: 128, _tiling.SharedBytes(headDim));
            return;
        }
        int items = tiles * attention.KvHeads, splits = replayed ? 1 : TileSplits(items);
        WgmmaArguments wgmmaArguments = new()
        {
            Tiles = tileArguments,
            Splits = splits,
            Partials = splits == 1 ? 0 : _scratch.Get(ScratchUse.TilePartials, (long)items * splits * _tiling.Rows * 2 * ((headDim / 2) + 4) * sizeof(float)),
            Counters = splits == 1 ? 0 : _scratch.Get(ScratchUse.TileCounters, (long)items * _tiling.Warpgroups * sizeof(uint)),
        };
        // Pages of other widths are not swizzled in the cache; a tensor map does it as they are read.
        if (headDim % TensorMaps.BoxColumns != 0) wgmmaArguments.CacheMap = _cacheMaps.Get(new Tensor(cache.Storage.Data, cache.Storage.Type, (int)(cache.Storage.Bytes / (2 * headDim)), headDim), PageTokens);
        _kernels.Get("attention_wgmma", "attention_wgmma", constants with { Shape = (_tiling.Warpgroups, _tiling.Tokens, _tiling.Stages, 0) })
            .Launch(wgmmaArguments, (Math.Min(items * splits, multiprocessors), 1, 1), threads: 128 * (_tiling.Warpgroups + 1), sharedBytes: _tiling.SharedBytes(headDim));
    }

    // CTAs that share the keys of a tile and head, where these alone leave half of the device without work; each has a few units of keys at least.
    private int TileSplits(int items) => Math.Clamp(Math.Min(_device.Multiprocessors / items, _longestContext / (UnitsASplit * _tiling.Tokens)), 1, MostTileSplits);

    private readonly record struct PendingStore(Tensor Qkv, KvLayer Cache, AttentionWeights Attention, BatchView View);

    private readonly record struct SplitLaunch(SplitArguments Arguments, int Singles, SplitShape Shape);

    [StructLayout(LayoutKind.Sequential)]
    private struct StoreArguments
    {
        public BatchView Batch;
        public nint Qkv, Cache;
        public HeadArguments Heads;
        public int HeadsPerBlock;
    }

    // struct AttentionArguments of attention.cuh: what all kernels of attention take first.
    [StructLayout(LayoutKind.Sequential)]
    private struct AttentionArguments
    {
        public BatchView Batch;
        public nint Plan, Qkv, Cache, Output, BlockTables, Slopes;
        public float Scale;
        public int Heads, KvHeads, Window, BlockSize, BlocksPerSequence;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TilesArguments
    {
        public AttentionArguments Common;
        public nint Tiles;
    }

    // The tensor map aligns it to 64 bytes on the device.
    [StructLayout(LayoutKind.Sequential, Size = 320)]
    private struct WgmmaArguments
    {
        public TensorMap CacheMap;
        public TilesArguments Tiles;
        public int Splits;
        public nint Partials, Counters;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct SplitArguments
    {
        public AttentionArguments Common;
        public nint Partials, Counters;
        public HeadArguments Heads;
        public int Slots;
    }
}
