using System.Diagnostics.CodeAnalysis;
using FastGen.Compute;

namespace FastGen.Models;

/// <summary>A tensor as it lies in a checkpoint.</summary>
/// <param name="File">The file that holds it, for messages and for reading.</param>
/// <param name="Name">Its full name.</param>
/// <param name="TypeName">Its type by the name that the format gives it: F32, BF16, I8, F8_E4M3, …</param>
/// <param name="Shape">Its dimensions, outermost first.</param>
/// <param name="Begin">Where its bytes begin, from the beginning of the file.</param>
/// <param name="Bytes">Its length in bytes.</param>
internal sealed record StoredTensor(string File, string Name, string TypeName, IReadOnlyList<long> Shape, long Begin, long Bytes)
{
    /// <summary>The storage type, where it is one that can be computed with.</summary>
    public bool TryGetType([NotNullWhen(true)] out DType? type)
    {
        type = TypeName switch
        {
            "F32" => DType.F32,
            "F16" => DType.F16,
            "BF16" => DType.BF16,
            _ => null,
        };
        return type is not null;
    }

    public override string ToString() => $"tensor '{Name}' ({TypeName} [{string.Join(", ", Shape)}])";
}
