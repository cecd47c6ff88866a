using FastGen.Compute;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>
/// Something that a run of transformers may have done when it made goldens, and that loading a published checkpoint does not do.
/// A golden must be met under one of them; all else about the arithmetic is the same.
/// </summary>
/// <param name="Name">What it did.</param>
/// <param name="Apply">The configuration that does the same; null where it makes no difference.</param>
internal sealed record GoldenConvention(string Name, Func<ModelConfig, DType, ModelConfig?> Apply)
{
    public static IReadOnlyList<GoldenConvention> All { get; } =
    [
        new("as transformers computes a loaded checkpoint", (config, _) => config),

        // model.to(bfloat16) also casts the buffer of inverse frequencies; model.float() does not bring its digits back.
        new("rotary frequencies rounded to the storage type", (config, type) =>
            type == DType.F32 || config.Rotary is null ? null : config with { Rotary = new RoundedRotaryScaling(config.Rotary, type) }),

        // transformers 5 puts ALiBi into the mask for every kind of attention, and its eager attention adds it once more.
        new("ALiBi added twice by eager attention", (config, _) =>
            config is FalconModel.FalconConfig { AlibiScale: > 0 } falcon ? falcon with { AlibiScale = 2 * falcon.AlibiScale } : null),
    ];

    /// <summary>A scheme whose frequencies went through a 16-bit type.</summary>
    private sealed record RoundedRotaryScaling(RotaryScaling Exact, DType Type) : RotaryScaling(Exact.Theta, Exact.Dimensions)
    {
        public override double AttentionFactor => Exact.AttentionFactor;

        public override int Sections => Exact.Sections;

        public override bool VariesByPosition => Exact.VariesByPosition;

        public override int RecomputeBeyond => Exact.RecomputeBeyond;

        public override int SectionFor(int promptLength) => Exact.SectionFor(promptLength);

        public override double[] Frequencies(int section, int position) => [.. Exact.Frequencies(section, position).Select(frequency => Round((float)frequency))];

        private double Round(float value)
        {
            if (Type == DType.F16) return (double)(Half)value;
            uint bits = BitConverter.SingleToUInt32Bits(value);
            return BitConverter.UInt32BitsToSingle((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF_0000);
        }
    }
}
