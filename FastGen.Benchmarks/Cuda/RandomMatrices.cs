using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Benchmarks.Cuda;

/// <summary>Random BF16 matrices, uniform, such that products with rows of unit spread keep their size.</summary>
internal static class RandomMatrices
{
    private const int PatternValues = 16 << 20;

    private static readonly Dictionary<int, byte[]> Patterns = [];

    public static void Fill(IBackend backend, Tensor matrix)
    {
        if (!Patterns.TryGetValue(matrix.Columns, out byte[]? pattern)) Patterns[matrix.Columns] = pattern = Pattern(matrix.Columns);
        int rowsAPiece = pattern.Length / (2 * matrix.Columns);
        for (int row = 0; row < matrix.Rows; row += rowsAPiece) backend.Upload(pattern.AsSpan(0, 2 * matrix.Columns * Math.Min(rowsAPiece, matrix.Rows - row)), DType.BF16, matrix, row);
    }

    private static byte[] Pattern(int columns)
    {
        byte[] bytes = new byte[2 * PatternValues];
        Span<ushort> values = MemoryMarshal.Cast<byte, ushort>(bytes.AsSpan());
        Random random = new(columns);
        float scale = 1.5f / MathF.Sqrt(columns);
        for (int i = 0; i < values.Length; i++) values[i] = (ushort)(BitConverter.SingleToUInt32Bits(((2 * random.NextSingle()) - 1) * scale) >> 16);
        return bytes;
    }
}
