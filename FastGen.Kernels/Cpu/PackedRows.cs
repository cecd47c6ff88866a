namespace FastGen.Kernels.Cpu;

/// <summary>The rows of a product's first operand, cut into tiles; a tile holds the values of all its rows for column 0, then for column 1, …</summary>
internal readonly unsafe struct PackedRows<TSimd, TVector>(float* data, int rows, int columns)
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    public readonly float* Data = data;
    public readonly int Rows = rows, Columns = columns;

    public int Tiles => (Rows + TSimd.TileRows - 1) / TSimd.TileRows;

    /// <summary>Floats that the tiles of <paramref name="rows"/> rows take.</summary>
    public static long Length(int rows, int columns) => (long)(rows + TSimd.TileRows) * columns;

    /// <summary>Rows of a tile, without padding.</summary>
    public int RowsOf(int tile) => Math.Min(TSimd.TileRows, Rows - (tile * TSimd.TileRows));

    /// <summary>Rows of a tile as packed.</summary>
    public int HeightOf(int tile) => Tile<TSimd, TVector>.Height(RowsOf(tile));

    /// <summary>Where column <paramref name="column"/> of a tile begins.</summary>
    public float* At(int tile, int column) => Data + ((long)tile * TSimd.TileRows * Columns) + ((long)column * HeightOf(tile));

    /// <summary>Packs one row; <paramref name="values"/> may be where a tile of one row lies.</summary>
    public void SetRow(int row, float* values)
    {
        int tile = row / TSimd.TileRows, height = HeightOf(tile);
        float* target = At(tile, 0) + (row % TSimd.TileRows);
        if (target == values) return;
        for (int k = 0; k < Columns; k++) target[(long)k * height] = values[k];
    }

    /// <summary>Fills what a tile's height has beyond its rows.</summary>
    public void ClearPadding(int tile)
    {
        int height = HeightOf(tile);
        for (int row = RowsOf(tile); row < height; row++)
        {
            float* target = At(tile, 0) + row;
            for (int k = 0; k < Columns; k++) target[(long)k * height] = 0;
        }
    }
}
