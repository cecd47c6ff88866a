namespace FastGen.Kernels.Reference;

/// <summary>The complementary error function in double precision.</summary>
internal static class ErrorFunction
{
    private const double SeriesLimit = 2.5;
    private const int FractionTerms = 60;

    /// <summary>erfc(x) = 1 − erf(x), by Taylor's series near 0 and Laplace's continued fraction far from it.</summary>
    public static double Complement(double x) => x switch
    {
        double.NaN => x,
        < 0 => 2 - Complement(-x),
        < SeriesLimit => 1 - Series(x),
        _ => Fraction(x),
    };

    // erf(x) = 2/√π · Σ (−1)ⁿ x²ⁿ⁺¹ / (n! (2n + 1))
    private static double Series(double x)
    {
        double sum = x, power = x;
        for (int n = 1; Math.Abs(power) > 1e-18 * sum; n++)
        {
            power *= -x * x / n;
            sum += power / ((2 * n) + 1);
        }
        return sum * 2 / Math.Sqrt(Math.PI);
    }

    // erfc(x) = e^(−x²)/√π · 1/(x + (1/2)/(x + (2/2)/(x + (3/2)/(x + …))))
    private static double Fraction(double x)
    {
        double fraction = x;
        for (int n = FractionTerms; n >= 1; n--) fraction = x + (n / 2.0 / fraction);
        return Math.Exp(-x * x) / Math.Sqrt(Math.PI) / fraction;
    }
}
