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
    private const int ColumnsAtOnce = 32;

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
            byte* panel = At(row / PanelRows, 0);
            if (Type == DType.F32) PackRows((float*)source, (float*)panel, row % PanelRows, count);
            else if (count == PanelRows) InterleavePanel((ushort*)source, (uint*)panel);
            else PackRows((ushort*)source, (ushort*)panel, row % PanelRows, count);
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

    // A few columns of all rows at a time, which the first cache holds.
    private void PackRows<T>(T* source, T* panel, int firstRow, int rows)
        where T : unmanaged
    {
        for (int column = 0; column < Columns; column += ColumnsAtOnce)
        {
            int end = Math.Min(column + ColumnsAtOnce, Columns);
            for (int i = 0; i < rows; i++)
            {
                T* row = source + ((long)i * Columns), target = panel + Place(firstRow + i, Type);
                for (int k = column; k < end; k++) target[(long)k * PanelRows] = row[k];
            }
        }
    }

    // A whole panel of 16-bit values: two rows become words, four columns at a time.
    private void InterleavePanel(ushort* source, uint* panel)
    {
        for (int column = 0; column < Columns; column += ColumnsAtOnce)
        {
            int end = Math.Min(column + ColumnsAtOnce, Columns);
            for (int lane = 0; lane < TSimd.Lanes; lane++)
            {
                ushort* low = source + ((long)lane * Columns), high = low + ((long)TSimd.Lanes * Columns);
                uint* target = panel + ((long)column * TSimd.Lanes) + lane;
                int k = column;
                for (; k <= end - 4; k += 4)
                {
                    ulong lows = *(ulong*)(low + k), highs = *(ulong*)(high + k);
                    target[0] = (ushort)lows | ((uint)highs << 16);
                    target[TSimd.Lanes] = (ushort)(lows >> 16) | ((uint)(highs >> 16) << 16);
                    target[2 * TSimd.Lanes] = (ushort)(lows >> 32) | ((uint)(highs >> 32) << 16);
                    target[3 * TSimd.Lanes] = (ushort)(lows >> 48) | ((uint)(highs >> 48) << 16);
                    target += 4 * TSimd.Lanes;
                }
                for (; k < end; k++, target += TSimd.Lanes) *target = low[k] | ((uint)high[k] << 16);
            }
        }
    }
}
