using FastGen.Compute;

namespace FastGen;

/// <summary>One layer's paged storage.</summary>
/// <param name="Storage">A row per block, its inner layout the backend's own.</param>
/// <param name="BlockSize">Tokens in a block.</param>
/// <param name="KvHeads">Key/value heads.</param>
/// <param name="HeadDim">Columns of one head.</param>
public readonly record struct KvLayer(Tensor Storage, int BlockSize, int KvHeads, int HeadDim);

/// <summary>Paged key/value storage of every layer. A block id means the same tokens in all of them.</summary>
public sealed class KvCache
{
    private readonly KvLayer[] _layers;

    /// <summary>Allocates <paramref name="blocks"/> blocks of <paramref name="blockSize"/> tokens for each layer of <paramref name="shape"/>.</summary>
    public KvCache(IBackend backend, ModelShape shape, DType type, int blocks, int blockSize)
    {
        BlockCount = blocks;
        BlockSize = blockSize;
        _layers = new KvLayer[shape.Layers];
        for (int i = 0; i < _layers.Length; i++) _layers[i] = backend.AllocateKvLayer(type, blocks, blockSize, shape.KvHeads, shape.HeadDim);
    }

    /// <summary>Blocks of each layer.</summary>
    public int BlockCount { get; }

    /// <summary>Tokens in a block.</summary>
    public int BlockSize { get; }

    /// <summary>The storage of <paramref name="layer"/>.</summary>
    public KvLayer this[int layer] => _layers[layer];

    /// <summary>Gives all layers back to the backend that they are from; nothing may use them any more.</summary>
    internal void Free(IBackend backend)
    {
        foreach (KvLayer layer in _layers) backend.FreeKvLayer(layer);
    }
}
