namespace FastGen.Models;

/// <summary>
/// Rotary position embedding (Su et al. 2021) and what is done to its frequencies to reach longer contexts; formulas as in
/// transformers' modeling_rope_utils. A scheme may keep several sections of frequencies, of which a sequence uses one by its prompt's length.
/// </summary>
/// <param name="Theta">Base of the geometric series of frequencies.</param>
/// <param name="Dimensions">Leading dimensions of a head that are rotated, an even number.</param>
internal record RotaryScaling(double Theta, int Dimensions)
{
    /// <summary>Factor on cos and sin.</summary>
    public virtual double AttentionFactor => 1;

    /// <summary>Number of sections.</summary>
    public virtual int Sections => 1;

    /// <summary>Positions that it reaches, given max_position_embeddings.</summary>
    public virtual double ExtendedContext(int maxContext) => maxContext;

    /// <summary>True where frequencies differ from position to position.</summary>
    public virtual bool VariesByPosition => false;

    /// <summary>The section that a sequence uses.</summary>
    public virtual int SectionFor(int promptLength) => 0;

    /// <summary>Length beyond which a sequence that grew from a shorter prompt takes another section for all its tokens; 0 for never.</summary>
    public virtual int RecomputeBeyond => 0;

    /// <summary>Radians that each pair of dimensions turns from one position to the next.</summary>
    public virtual double[] Frequencies(int section, int position) => Series(Theta);

    /// <summary>base^(−2i / dimensions)</summary>
    protected double[] Series(double @base) => [.. Enumerable.Range(0, Dimensions / 2).Select(i => Math.Pow(@base, -2.0 * i / Dimensions))];
}

/// <summary>All frequencies divided by a factor (position interpolation).</summary>
internal sealed record LinearRotaryScaling(double Theta, int Dimensions, double Factor) : RotaryScaling(Theta, Dimensions)
{
    public override double ExtendedContext(int maxContext) => Factor * maxContext;

    public override double[] Frequencies(int section, int position) => [.. Series(Theta).Select(frequency => frequency / Factor)];
}

/// <summary>
/// A base that grows with the sequence (dynamic NTK). transformers applies the base of the current length to new tokens and
/// leaves cached keys as they are; token by token, position p therefore has the base of length p + 1.
/// </summary>
internal sealed record DynamicRotaryScaling(double Theta, int Dimensions, double Factor, int OriginalContext) : RotaryScaling(Theta, Dimensions)
{
    public override bool VariesByPosition => true;

    public override double ExtendedContext(int maxContext) => Factor * maxContext;

    public override double[] Frequencies(int section, int position)
    {
        double length = Math.Max(position + 1, OriginalContext);
        double growth = (Factor * length / OriginalContext) - (Factor - 1);
        return Series(Theta * Math.Pow(growth, Dimensions / (Dimensions - 2.0)));
    }
}

/// <summary>Llama 3.1: low frequencies divided by the factor, high ones kept, a linear blend between.</summary>
internal sealed record Llama3RotaryScaling(double Theta, int Dimensions, double Factor, double LowFrequencyFactor, double HighFrequencyFactor, int OriginalContext)
    : RotaryScaling(Theta, Dimensions)
{
    public override double[] Frequencies(int section, int position) => [.. Series(Theta).Select(Scale)];

    private double Scale(double frequency)
    {
        double wavelength = 2 * Math.PI / frequency;
        if (wavelength < OriginalContext / HighFrequencyFactor) return frequency;
        if (wavelength > OriginalContext / LowFrequencyFactor) return frequency / Factor;
        double smooth = ((OriginalContext / wavelength) - LowFrequencyFactor) / (HighFrequencyFactor - LowFrequencyFactor);
        return ((1 - smooth) * frequency / Factor) + (smooth * frequency);
    }
}

/// <summary>YaRN (Peng et al. 2023): interpolation below a ramp, extrapolation above it, and a temperature on the scores.</summary>
internal sealed record YarnRotaryScaling(double Theta, int Dimensions, double Factor, int OriginalContext, double FastRotations, double SlowRotations, bool Truncate, double Temperature)
    : RotaryScaling(Theta, Dimensions)
{
    public override double AttentionFactor => Temperature;

    // Qwen's files name the context before the extension.
    public override double ExtendedContext(int maxContext) => Factor * OriginalContext;

    public override double[] Frequencies(int section, int position)
    {
        (double low, double high) = (DimensionOf(FastRotations), DimensionOf(SlowRotations));
        if (Truncate) (low, high) = (Math.Floor(low), Math.Ceiling(high));
        (low, high) = (Math.Max(low, 0), Math.Min(high, Dimensions - 1));
        if (low == high) high += 0.001;
        double[] frequencies = Series(Theta);
        for (int i = 0; i < frequencies.Length; i++)
        {
            double interpolated = Math.Clamp((i - low) / (high - low), 0, 1);
            frequencies[i] = (frequencies[i] / Factor * interpolated) + (frequencies[i] * (1 - interpolated));
        }
        return frequencies;
    }

    /// <summary>0.1 · scale · ln(factor) + 1, the temperature that the paper suggests.</summary>
    public static double TemperatureFor(double factor, double scale = 1) => factor <= 1 ? 1 : (0.1 * scale * Math.Log(factor)) + 1;

    private double DimensionOf(double rotations) => Dimensions * Math.Log(OriginalContext / (rotations * 2 * Math.PI)) / (2 * Math.Log(Theta));
}

/// <summary>
/// LongRoPE (Ding et al. 2024): a divisor for each frequency, one set for texts within the original context and one for longer ones. Where a text grows past it,
/// Phi-3's class in transformers drops its cache and computes it anew; the others go on with the long factors beside keys that keep the short ones.
/// </summary>
internal sealed record LongRotaryScaling(double Theta, int Dimensions, IReadOnlyList<double> ShortFactors, IReadOnlyList<double> LongFactors, int OriginalContext, double Temperature, bool DropsCache)
    : RotaryScaling(Theta, Dimensions)
{
    public override double AttentionFactor => Temperature;

    public override int Sections => 2;

    public override bool VariesByPosition => !DropsCache;

    public override int SectionFor(int promptLength) => promptLength > OriginalContext ? 1 : 0;

    public override int RecomputeBeyond => DropsCache ? OriginalContext : 0;

    public override double[] Frequencies(int section, int position) =>
        [.. Series(Theta).Zip(section == 0 && (DropsCache || position < OriginalContext) ? ShortFactors : LongFactors, (frequency, factor) => frequency / factor)];
}

/// <summary>Qwen's first generation: the base grows in steps with the prompt's length, as 2^⌈log₂(prompt / trained) + 1⌉ − 1, and stays while the sequence grows.</summary>
internal sealed record PromptRotaryScaling(double Theta, int Dimensions, int TrainedContext, int MaxContext) : RotaryScaling(Theta, Dimensions)
{
    public override int Sections => SectionFor(MaxContext) + 1;

    public override int SectionFor(int promptLength) => promptLength <= TrainedContext ? 0 : (int)Math.Ceiling(Math.Log2((double)promptLength / TrainedContext));

    public override double[] Frequencies(int section, int position)
    {
        double alpha = Math.Pow(2, section + 1) - 1;
        return Series(Theta * Math.Pow(alpha, Dimensions / (Dimensions - 2.0)));
    }
}
