using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using FastGen.Compute;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Random weights of which the large ones are never made: whoever takes them puts its own in their place, or computes nothing.</summary>
internal sealed class UnreadCheckpoint(DType type, float spread = 0.04f) : Checkpoint
{
    /// <summary>Tensors of fewer bytes are random.</summary>
    public const long LargeBytes = 1 << 20;

    private static readonly ConcurrentDictionary<(DType, float), RandomCheckpoint> Patterns = [];

    private readonly RandomCheckpoint _random = Patterns.GetOrAdd((type, spread), static key => new RandomCheckpoint(key.Item1, seed: 1, key.Item2));

    public override string Location => _random.Location;

    public override IReadOnlyCollection<string> Names => _random.Names;

    public override long TotalBytes => _random.TotalBytes;

    public override DType MainType => _random.MainType;

    public override bool ContainsPrefix(string prefix) => _random.ContainsPrefix(prefix);

    public override bool TryFind(string name, [NotNullWhen(true)] out StoredTensor? tensor) => _random.TryFind(name, out tensor);

    public override StoredTensor Require(string name, params ReadOnlySpan<long> shape) => _random.Require(name, shape);

    public override void Read(StoredTensor tensor, long offset, Span<byte> target)
    {
        if (tensor.Bytes < LargeBytes) _random.Read(tensor, offset, target);
    }
}
