using FastGen.Compute;

namespace FastGen.Models;

/// <summary>The rotary table of a model: a section of rows for each set of frequencies, a row for each position.</summary>
internal sealed class RotaryTable
{
    private readonly RotaryScaling _scaling;
    private readonly int _positions;
    private readonly Lazy<Tensor> _rows;

    /// <param name="loader">Where the table goes.</param>
    /// <param name="scaling">Frequencies.</param>
    /// <param name="positions">Positions of each section.</param>
    public RotaryTable(WeightLoader loader, RotaryScaling scaling, int positions)
    {
        (_scaling, _positions) = (scaling, positions);
        _rows = new Lazy<Tensor>(() => loader.Compute(checked(scaling.Sections * positions), scaling.Dimensions, (first, values) => Fill(scaling, positions, first, values)));
    }

    /// <summary>
    /// [sections · positions, rotary dimensions], F32: cosines, then sines. Computed in double precision when a layer first asks, which it does once its weights have shown
    /// that the size of a head is no mistake.
    /// </summary>
    public Tensor Rows => _rows.Value;

    /// <summary>First row of the section that a sequence uses.</summary>
    public int BaseFor(int promptLength) => _scaling.SectionFor(promptLength) * _positions;

    /// <summary>Computes rows from <paramref name="first"/> on.</summary>
    public static void Fill(RotaryScaling scaling, int positions, int first, Span<float> values)
    {
        int dimensions = scaling.Dimensions, half = dimensions / 2;
        double[] frequencies = [];
        for (int i = 0; i < values.Length / dimensions; i++)
        {
            (int section, int position) = Math.DivRem(first + i, positions);
            if (i == 0 || position == 0 || scaling.VariesByPosition) frequencies = scaling.Frequencies(section, position);
            Span<float> row = values.Slice(i * dimensions, dimensions);
            for (int d = 0; d < half; d++)
            {
                (double sin, double cos) = Math.SinCos(position * frequencies[d]);
                row[d] = (float)(cos * scaling.AttentionFactor);
                row[half + d] = (float)(sin * scaling.AttentionFactor);
            }
        }
    }
}
