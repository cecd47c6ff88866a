namespace FastGen.Kernels.Cpu;

/// <summary>
/// The layout of one layer's cache. A block holds for each kv head its keys, [head column][token], then its values,
/// [token][head column], so that both the scores and the mixture are products without sums across lanes. Tokens of the keys and columns of the values
/// are filled up to whole registers.
/// </summary>
internal readonly unsafe struct KvBlocks<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly float* _data;
    private readonly long _blockLength;

    public KvBlocks(KvLayer layer)
    {
        _data = (float*)layer.Storage.Data;
        _blockLength = layer.Storage.Columns;
        BlockSize = layer.BlockSize;
        HeadDim = layer.HeadDim;
        KeyStride = Padded(layer.BlockSize);
        ValueStride = Padded(layer.HeadDim);
    }

    public int BlockSize { get; }

    public int HeadDim { get; }

    /// <summary>Floats from one head column of the keys to the next.</summary>
    public int KeyStride { get; }

    /// <summary>Floats from one token of the values to the next.</summary>
    public int ValueStride { get; }

    /// <summary>Floats of one block.</summary>
    public static int BlockLength(int blockSize, int kvHeads, int headDim) => kvHeads * HeadLength(blockSize, headDim);

    public float* Keys(int block, int kvHead) => _data + (block * _blockLength) + ((long)kvHead * HeadLength(BlockSize, HeadDim));

    public float* Values(int block, int kvHead) => Keys(block, kvHead) + (HeadDim * KeyStride);

    /// <summary>Writes one token's key and value of one head.</summary>
    public void Store(int place, int kvHead, float* key, float* value)
    {
        (int block, int token) = Math.DivRem(place, BlockSize);
        float* keys = Keys(block, kvHead) + token;
        for (int d = 0; d < HeadDim; d++) keys[(long)d * KeyStride] = key[d];
        new ReadOnlySpan<float>(value, HeadDim).CopyTo(new Span<float>(Values(block, kvHead) + ((long)token * ValueStride), HeadDim));
    }

    private static int HeadLength(int blockSize, int headDim) => (headDim * Padded(blockSize)) + (blockSize * Padded(headDim));

    private static int Padded(int count) => (count + TSimd.Lanes - 1) / TSimd.Lanes * TSimd.Lanes;
}
