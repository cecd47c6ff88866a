using System.Runtime.CompilerServices;
using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>
/// A weight matrix as its products read it: panels of 2 · lanes rows, each panel column by column, so that one step of a product is
/// one contiguous load. 16-bit values of a column lie interleaved (row i beside row i + lanes), so that widening needs no shuffle.
/// The last panel is filled up with zeros.
/// </summary>
internal readonly unsafe struct PackedWeights<TSimd, TVector>(Tensor tensor)
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    public readonly byte* Data = (byte*)tensor.Data;
    public readonly DType Type = tensor.Type;
    public readonly int Rows = tensor.Rows, Columns = tensor.Columns;

    /// <summary>Rows of a panel: outputs of one step of a product.</summary>
    public static int PanelRows
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => 2 * TSimd.Lanes;
    }

    public static int Panels(int rows) => (rows + PanelRows - 1) / PanelRows;

    public static long Bytes(DType type, int rows, int columns) => (long)Panels(rows) * PanelRows * columns * type.Size();

    /// <summary>Where column <paramref name="column"/> of a panel begins.</summary>
    public byte* At(int panel, int column) => Data + (((long)panel * Columns) + column) * PanelRows * Type.Size();

    /// <summary>Stores rows given as values of this matrix's type.</summary>
    public void Pack(byte* source, int firstRow, int rows)
    {
        for (int row = firstRow; row < firstRow + rows;)
        {
            int count = Math.Min(PanelRows - (row % PanelRows), firstRow + rows - row);
            if (Type == DType.F32) PackPanel((float*)source, (float*)At(row / PanelRows, 0), row % PanelRows, count);
            else PackPanel((ushort*)source, (ushort*)At(row / PanelRows, 0), row % PanelRows, count);
            source += (long)count * Columns * Type.Size();
            row += count;
        }
    }

    /// <summary>Reads one row as F32.</summary>
    public void ReadRow(int row, Span<float> target)
    {
        byte* panel = At(row / PanelRows, 0);
        int place = Place(row % PanelRows, Type);
        switch (Type)
        {
            case DType.F32:
                for (int k = 0; k < Columns; k++) target[k] = ((float*)panel)[(k * PanelRows) + place];
                break;
            case DType.F16:
                for (int k = 0; k < Columns; k++) target[k] = (float)((Half*)panel)[(k * PanelRows) + place];
                break;
            default:
                for (int k = 0; k < Columns; k++) target[k] = BitConverter.UInt32BitsToSingle((uint)((ushort*)panel)[(k * PanelRows) + place] << 16);
                break;
        }
    }

    private static int Place(int row, DType type) => type == DType.F32 ? row : (2 * (row % TSimd.Lanes)) + (row / TSimd.Lanes);

    // Column by column, so that the panel is written in order and every source row is a stream.
    private void PackPanel<T>(T* source, T* panel, int firstRow, int rows)
        where T : unmanaged
    {
        int* places = stackalloc int[rows];
        for (int i = 0; i < rows; i++) places[i] = Place(firstRow + i, Type);
        for (int k = 0; k < Columns; k++)
        {
            for (int i = 0; i < rows; i++) panel[places[i]] = source[((long)i * Columns) + k];
            panel += PanelRows;
        }
    }
}
