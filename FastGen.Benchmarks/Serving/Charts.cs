using System.Globalization;
using System.Runtime.InteropServices;
using ScottPlot;
using ScottPlot.MultiplotLayouts;
using ScottPlot.Plottables;
using ScottPlot.TickGenerators;
using SkiaSharp;

namespace FastGen.Benchmarks.Serving;

/// <summary>What all figures share: colours, axes, panels in a grid, PNG and SVG.</summary>
internal static class Charts
{
    // Okabe and Ito's colours, which the colour-blind tell apart.
    private static readonly Color[] Palette = [.. ((string[])["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]).Select(hex => Color.FromHex(hex))];

    /// <summary>Whether figures can be drawn here: the archive for GPU hosts leaves SkiaSharp's native library out.</summary>
    public static bool CanDraw { get; } = NativeLibrary.TryLoad("libSkiaSharp", typeof(SKCanvas).Assembly, DllImportSearchPath.AssemblyDirectory, out _);

    public static Color ColorOf(int index) => Palette[index % Palette.Length];

    /// <summary>One of four tones of a colour, the first the full one: SVG output has no dashed lines.</summary>
    public static Color Tone(Color color, int tone) => color.MixedWith(Colors.White, 0.19 * (tone % 4));

    public static Plot Panel(string title, string horizontal, string vertical)
    {
        Plot plot = new();
        plot.FigureBackground.Color = Colors.White;
        plot.Title(title, size: 17);
        plot.XLabel(horizontal, size: 14);
        plot.YLabel(vertical, size: 14);
        plot.Axes.Bottom.TickLabelStyle.FontSize = plot.Axes.Left.TickLabelStyle.FontSize = 13;
        // So that panels above one another align.
        plot.Axes.Left.MinimumSize = 70;
        plot.Grid.MajorLineColor = Colors.Black.WithAlpha(0.12);
        plot.Axes.Top.FrameLineStyle.IsVisible = plot.Axes.Right.FrameLineStyle.IsVisible = false;
        return plot;
    }

    public static Scatter Line(Plot plot, IEnumerable<(double X, double Y)> points, string legend, Color color, MarkerShape marker = MarkerShape.FilledCircle)
    {
        (double X, double Y)[] finite = [.. points.Where(point => double.IsFinite(point.X) && double.IsFinite(point.Y))];
        Scatter line = plot.Add.Scatter(finite.Select(point => point.X).ToArray(), finite.Select(point => point.Y).ToArray(), color);
        line.LineWidth = 2;
        line.MarkerShape = marker;
        line.MarkerSize = 7;
        line.LegendText = finite.Length > 0 ? legend : "";
        return line;
    }

    public static void Legend(Plot plot, Alignment alignment, Orientation orientation = Orientation.Vertical)
    {
        plot.ShowLegend(alignment, orientation);
        Style(plot.Legend);
    }

    /// <summary>A legend to the right of the panel, for more than fits into it.</summary>
    public static void LegendBeside(Plot plot)
    {
        plot.ShowLegend(Edge.Right);
        Style(plot.Legend);
    }

    private static void Style(ScottPlot.Legend legend)
    {
        legend.FontSize = 12;
        legend.BackgroundColor = Colors.White.WithAlpha(0.85);
        legend.ShadowColor = Colors.Transparent;
        legend.OutlineColor = Colors.Black.WithAlpha(0.2);
    }

    /// <summary>Fits the vertical axis to the data, from 0 up, with room above for a legend of <paramref name="entries"/>.</summary>
    public static void FromZero(Plot plot, int entries)
    {
        plot.Axes.AutoScale();
        plot.Axes.SetLimitsY(0, Math.Max(plot.Axes.GetLimits().Top, 1e-3) * (1.05 + (0.07 * entries)));
    }

    /// <summary>A horizontal axis of loads that double: values are given as their binary logarithms, ticks say the loads.</summary>
    public static void LoadAxis(Plot plot, IEnumerable<double> loads)
    {
        double[] all = [.. loads.Distinct().Order()];
        plot.Axes.Bottom.TickGenerator = new NumericManual([.. all.Select(Math.Log2)], [.. all.Select(load => load.ToString("0.##", CultureInfo.InvariantCulture))]);
        plot.Axes.SetLimitsX(Math.Log2(all[0]) - 0.4, Math.Log2(all[^1]) + 0.4);
    }

    /// <summary>A vertical axis of seconds over decades, with room above for a legend of <paramref name="entries"/>: values are given as their decimal logarithms.</summary>
    public static void TimeAxis(Plot plot, IEnumerable<double> seconds, int entries)
    {
        (double low, double high) = TimeTicks(plot.Axes.Left, seconds);
        plot.Axes.SetLimitsY(low, high + ((high - low) * 0.09 * entries));
    }

    /// <summary>A horizontal axis of seconds over decades: values are given as their decimal logarithms.</summary>
    public static void HorizontalTimeAxis(Plot plot, IEnumerable<double> seconds)
    {
        (double low, double high) = TimeTicks(plot.Axes.Bottom, seconds);
        plot.Axes.SetLimitsX(low, high);
    }

    /// <summary>Writes the panels as FILE.png and FILE.svg.</summary>
    public static void Save(string file, IReadOnlyList<Plot> panels, int columns, int panelWidth, int panelHeight)
    {
        columns = Math.Min(columns, panels.Count);
        int rows = (panels.Count + columns - 1) / columns, width = columns * panelWidth, height = rows * panelHeight;
        Multiplot figure = new() { Layout = new Grid(rows, columns) };
        figure.Reset(panels[0]);
        foreach (Plot panel in panels.Skip(1)) figure.AddPlot(panel);
        for (int empty = panels.Count; empty < rows * columns; empty++) figure.AddPlot(Blank());
        figure.SavePng(file + ".png", width, height);
        using FileStream stream = File.Create(file + ".svg");
        using SKCanvas canvas = SKSvgCanvas.Create(new SKRect(0, 0, width, height), stream);
        figure.Render(canvas, new PixelRect(0, width, height, 0));
    }

    // What no panel covers is black in SVG.
    private static Plot Blank()
    {
        Plot plot = new();
        plot.FigureBackground.Color = Colors.White;
        plot.HideAxesAndGrid();
        return plot;
    }

    private static (double Low, double High) TimeTicks(IAxis axis, IEnumerable<double> seconds)
    {
        double[] positive = [.. seconds.Where(value => double.IsFinite(value) && value > 0)];
        double low = positive.Length == 0 ? 0.001 : positive.Min(), high = positive.Length == 0 ? 1 : positive.Max();
        List<double> ticks = [];
        for (double decade = Math.Pow(10, Math.Floor(Math.Log10(low))); decade <= high * 10; decade *= 10) ticks.AddRange(high / low > 1e3 ? [decade] : [decade, 2 * decade, 5 * decade]);
        axis.TickGenerator = new NumericManual([.. ticks.Select(Math.Log10)], [.. ticks.Select(Text)]);
        return (Math.Log10(low / 1.3), Math.Log10(high * 1.3));
    }

    private static string Text(double seconds) => seconds switch
    {
        < 0.9e-3 => string.Create(CultureInfo.InvariantCulture, $"{seconds * 1e6:0.##} µs"),
        < 0.9 => string.Create(CultureInfo.InvariantCulture, $"{seconds * 1e3:0.##} ms"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{seconds:0.##} s"),
    };
}
