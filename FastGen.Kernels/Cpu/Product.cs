using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>
/// Rows times weights. Sums run over blocks of <see cref="BlockColumns"/> columns, each one chain, added in order: an order that depends
/// on the number of columns only. The blocking around it decides what stays in which cache, not the result.
/// </summary>
internal static unsafe class Product<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    /// <summary>Columns of one chain: with a tile's rows they fit the first cache.</summary>
    public const int BlockColumns = 256;

    /// <summary>Rows done together: with <see cref="BlockColumns"/> columns they fit the second cache beside the sums.</summary>
    public const int BlockRows = 192;

    /// <summary>Outputs done together when there are many rows.</summary>
    private const int GroupOutputs = 512;

    /// <summary>Tiles done together.</summary>
    public static int BlockTiles => BlockRows / TSimd.TileRows;

    /// <summary>Floats from one row of sums to the next: a group that begins and ends within a panel, twice for gated products.</summary>
    public static int SumStride => GroupOutputs + (4 * PackedWeights<TSimd, TVector>.PanelRows);

    /// <summary>Floats of scratch that a worker needs.</summary>
    public static long ScratchLength => WidenedLength + ((long)(BlockRows + TSimd.TileRows) * SumStride);

    private static int WidenedLength => BlockColumns * PackedWeights<TSimd, TVector>.PanelRows;

    /// <summary>Outputs to do together for so many tiles: one panel while weights are merely streamed through.</summary>
    public static int GroupOf(int tiles) => tiles == 1 ? PackedWeights<TSimd, TVector>.PanelRows : GroupOutputs;

    /// <summary>Sums of outputs from <paramref name="firstOutput"/> on for some tiles.</summary>
    /// <param name="rows">First operand.</param>
    /// <param name="firstTile">First of its tiles.</param>
    /// <param name="tiles">Number of tiles, at most <see cref="BlockTiles"/>.</param>
    /// <param name="weights">Second operand.</param>
    /// <param name="firstOutput">First row of it.</param>
    /// <param name="outputs">Number of outputs.</param>
    /// <param name="scratch"><see cref="ScratchLength"/> floats.</param>
    /// <param name="sumOffset">Where in a row of sums to begin, a multiple of the lanes.</param>
    /// <returns>The sum of the first row and the first output; rows lie <see cref="SumStride"/> apart.</returns>
    public static float* Compute(PackedRows<TSimd, TVector> rows, int firstTile, int tiles, PackedWeights<TSimd, TVector> weights, int firstOutput, int outputs, float* scratch, int sumOffset = 0)
    {
        int panelRows = PackedWeights<TSimd, TVector>.PanelRows;
        int firstPanel = firstOutput / panelRows, endPanel = PackedWeights<TSimd, TVector>.Panels(firstOutput + outputs);
        float* sums = scratch + WidenedLength + sumOffset;
        for (int column = 0; column < weights.Columns; column += BlockColumns)
        {
            int steps = Math.Min(BlockColumns, weights.Columns - column);
            for (int panel = firstPanel; panel < endPanel; panel++)
            {
                byte* data = weights.At(panel, column);
                float* target = sums + ((panel - firstPanel) * panelRows);
                switch (weights.Type)
                {
                    case DType.F32:
                        Multiply(rows, firstTile, tiles, new PackedFloatPanel<TSimd, TVector>(data), column, steps, target);
                        break;
                    case DType.BF16:
                        Multiply(rows, firstTile, tiles, new PackedBFloat16Panel<TSimd, TVector>(data), column, steps, target);
                        break;
                    default:
                        MultiplyHalf(rows, firstTile, tiles, new PackedHalfPanel<TSimd, TVector>(data), column, steps, target, scratch);
                        break;
                }
            }
        }
        return sums + (firstOutput % panelRows);
    }

    private static void Multiply<TPanel>(PackedRows<TSimd, TVector> rows, int firstTile, int tiles, TPanel panel, int column, int steps, float* target)
        where TPanel : struct, IPanel<TVector>
    {
        for (int tile = firstTile; tile < firstTile + tiles; tile++)
        {
            Tile<TSimd, TVector>.Multiply(rows.HeightOf(tile), panel, rows.At(tile, column), steps, target, SumStride, accumulate: column > 0);
            target += (nint)TSimd.TileRows * SumStride;
        }
    }

    // Widening half precision costs more than a multiplication, so it is done once for all tiles.
    private static void MultiplyHalf(PackedRows<TSimd, TVector> rows, int firstTile, int tiles, PackedHalfPanel<TSimd, TVector> panel, int column, int steps, float* target, float* widened)
    {
        if (tiles == 1)
        {
            Multiply(rows, firstTile, tiles, panel, column, steps, target);
            return;
        }
        float* place = widened;
        for (nint k = 0; k < steps; k++)
        {
            panel.Load(k, out TVector first, out TVector second);
            TSimd.Store(place, first);
            TSimd.Store(place + TSimd.Lanes, second);
            place += 2 * TSimd.Lanes;
        }
        Multiply(rows, firstTile, tiles, new PackedFloatPanel<TSimd, TVector>((byte*)widened), column, steps, target);
    }
}
