using FastGen.Compute;

namespace FastGen.Models;

/// <summary>The rotary table of a model: a section of rows for each set of frequencies, a row for each position.</summary>
internal sealed class RotaryTable
{
    private readonly RotaryScaling _scaling;
    private readonly int _positions;

    private RotaryTable(RotaryScaling scaling, int positions, Tensor rows) => (_scaling, _positions, Rows) = (scaling, positions, rows);

    /// <summary>[sections · positions, rotary dimensions], F32: cosines, then sines.</summary>
    public Tensor Rows { get; }

    /// <summary>First row of the section that a sequence uses.</summary>
    public int BaseFor(int promptLength) => _scaling.SectionFor(promptLength) * _positions;

    /// <summary>Computes the table in double precision and loads it.</summary>
    public static RotaryTable Create(WeightLoader loader, RotaryScaling scaling, int positions)
    {
        Tensor rows = loader.Compute(checked(scaling.Sections * positions), scaling.Dimensions, (first, values) => Fill(scaling, positions, first, values));
        return new RotaryTable(scaling, positions, rows);
    }

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
