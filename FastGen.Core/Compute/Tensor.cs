namespace FastGen.Compute;

/// <summary>How the values of a tensor are stored.</summary>
public enum DType : byte
{
    /// <summary>IEEE 754 single precision, 4 bytes.</summary>
    F32,

    /// <summary>IEEE 754 half precision, 2 bytes.</summary>
    F16,

    /// <summary>bfloat16: the upper half of a single precision value, 2 bytes.</summary>
    BF16,
}

/// <summary>Sizes of the storage types.</summary>
public static class DTypes
{
    /// <summary>Bytes that one value of <paramref name="type"/> takes.</summary>
    public static int Size(this DType type) => type == DType.F32 ? 4 : 2;
}

/// <summary>
/// A matrix in backend memory: rows are tokens, columns are features. A vector is a matrix of one row.
/// Activations are row-major; the inner layout of weights and of cache blocks is their backend's own.
/// </summary>
/// <param name="Data">Address in the memory of the backend that allocated it.</param>
/// <param name="Type">Storage of each value.</param>
/// <param name="Rows">Number of rows.</param>
/// <param name="Columns">Number of columns.</param>
public readonly record struct Tensor(nint Data, DType Type, int Rows, int Columns)
{
    /// <summary>Bytes of the values, without padding.</summary>
    public long Bytes => (long)Rows * Columns * Type.Size();

    /// <summary>The first <paramref name="rows"/> rows.</summary>
    public Tensor WithRows(int rows) => this with { Rows = rows };
}
