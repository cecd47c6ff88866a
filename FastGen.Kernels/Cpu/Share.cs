namespace FastGen.Kernels.Cpu;

/// <summary>One worker's part of a product, in panels of outputs and tiles of rows.</summary>
internal readonly record struct Share(int FirstPanel, int EndPanel, int FirstTile, int EndTile)
{
    /// <summary>The part of <paramref name="count"/> items that falls to a worker: consecutive, and as even as can be.</summary>
    public static (int Start, int End) Of(int count, int worker, int workers) => ((int)((long)count * worker / workers), (int)((long)count * (worker + 1) / workers));

    /// <summary>Splits panels among the workers, and tiles too where there are fewer panels than workers.</summary>
    public static Share OfGrid(int panels, int tiles, int worker, int workers)
    {
        int across = Math.Min(panels, workers), down = Math.Min(workers / across, tiles);
        if (worker >= across * down) return default;
        (int firstPanel, int endPanel) = Of(panels, worker % across, across);
        (int firstTile, int endTile) = Of(tiles, worker / across, down);
        return new Share(firstPanel, endPanel, firstTile, endTile);
    }
}
