using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Models;

/// <summary>
/// Makes every tensor that a model asks for, at once and without files: for benchmarks of a model's shape, and for tests.
/// Matrices are uniform around 0 with the spread of a trained layer, norms are near 1; the same seed gives the same model.
/// </summary>
internal sealed class RandomCheckpoint : Checkpoint
{
    // A repeated pattern: the length is prime, so that rows do not line up with it.
    private const int PatternLength = 1_000_003;

    private readonly DType _type;
    private readonly byte[] _matrixPattern, _vectorPattern;

    /// <summary>Makes a checkpoint whose tensors are all stored as <paramref name="type"/>.</summary>
    public RandomCheckpoint(DType type, int seed, float spread = 0.04f)
    {
        _type = type;
        Random random = new(seed);
        _matrixPattern = Encode([.. Enumerable.Range(0, PatternLength).Select(_ => ((random.NextSingle() * 2) - 1) * spread)]);
        _vectorPattern = Encode([.. Enumerable.Range(0, PatternLength).Select(_ => 1 + (((random.NextSingle() * 2) - 1) * spread))]);
    }

    /// <inheritdoc/>
    public override string Location => "random weights";

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Names => [];

    /// <inheritdoc/>
    public override long TotalBytes => 0;

    /// <inheritdoc/>
    public override DType MainType => _type;

    /// <inheritdoc/>
    public override bool ContainsPrefix(string prefix) => true;

    /// <inheritdoc/>
    public override bool TryFind(string name, [NotNullWhen(true)] out StoredTensor? tensor)
    {
        tensor = null;
        return false;
    }

    /// <inheritdoc/>
    public override StoredTensor Require(string name, params ReadOnlySpan<long> shape)
    {
        long values = 1;
        foreach (long size in shape) values *= size;
        return new StoredTensor(Location, name, _type.ToString(), shape.ToArray(), 0, values * _type.Size());
    }

    /// <inheritdoc/>
    public override void Read(StoredTensor tensor, long offset, Span<byte> target)
    {
        ReadOnlySpan<byte> pattern = tensor.Shape.Count == 1 && tensor.Name.EndsWith(".weight", StringComparison.Ordinal) ? _vectorPattern : _matrixPattern;
        int size = _type.Size();
        long start = (NameHash(tensor.Name) + (offset / size)) % PatternLength;
        for (int at = (int)(start * size); !target.IsEmpty; at = 0)
        {
            int length = Math.Min(target.Length, pattern.Length - at);
            pattern.Slice(at, length).CopyTo(target);
            target = target[length..];
        }
    }

    // string.GetHashCode differs from run to run.
    private static uint NameHash(string name)
    {
        uint hash = 2166136261;
        foreach (char c in name) hash = BitOperations.RotateLeft(hash ^ c, 5) * 16777619;
        return hash;
    }

    private byte[] Encode(float[] values) => _type switch
    {
        DType.F32 => MemoryMarshal.AsBytes(values.AsSpan()).ToArray(),
        DType.F16 => MemoryMarshal.AsBytes<Half>([.. values.Select(value => (Half)value)]).ToArray(),
        _ => MemoryMarshal.AsBytes<ushort>([.. values.Select(value => (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16))]).ToArray(),
    };
}
