using System.Diagnostics.CodeAnalysis;
using FastGen.Compute;

namespace FastGen.Models;

/// <summary>The named tensors of a model.</summary>
internal abstract class Checkpoint : IDisposable
{
    /// <summary>Where it comes from, for messages.</summary>
    public abstract string Location { get; }

    /// <summary>All names; none where tensors are made on demand.</summary>
    public abstract IReadOnlyCollection<string> Names { get; }

    /// <summary>Bytes of all tensors; 0 where they are made on demand.</summary>
    public abstract long TotalBytes { get; }

    /// <summary>The storage type that most bytes have.</summary>
    public abstract DType MainType { get; }

    /// <summary>True if some tensor's name begins with <paramref name="prefix"/> and a dot.</summary>
    public abstract bool ContainsPrefix(string prefix);

    /// <summary>The tensor of that name, whatever its shape.</summary>
    public abstract bool TryFind(string name, [NotNullWhen(true)] out StoredTensor? tensor);

    /// <summary>The tensor of that name, which must have that shape and a type that can be computed with.</summary>
    /// <exception cref="ModelLoadException">It is missing or has another shape.</exception>
    /// <exception cref="UnsupportedModelException">It has another type.</exception>
    public abstract StoredTensor Require(string name, params ReadOnlySpan<long> shape);

    /// <summary>Fills <paramref name="target"/> from a tensor's bytes, <paramref name="offset"/> bytes in.</summary>
    public abstract void Read(StoredTensor tensor, long offset, Span<byte> target);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Closes files.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }
}
