using System.Text.Json;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Frequencies and tables of every rotary scheme, against numbers computed apart from this code.</summary>
public sealed class RotaryScalingTests
{
    private static readonly FamilyDefaults Defaults = new() { MaxContext = 2048, NormEpsilon = 1e-6f, RotaryFraction = 1, OriginalContext = 4096 };

    [Test]
    public void Frequencies_Default_AreAGeometricSeries()
    {
        double[] frequencies = Read("""{"rope_theta": 10000}""", headDim: 8).Frequencies(0, 0);
        Assert.That(frequencies, Is.EqualTo(new[] { 1, 0.1, 0.01, 0.001 }).Within(1e-12).Percent);
    }

    [Test]
    public void Frequencies_PartialRotation_CoverTheLeadingDimensions()
    {
        RotaryScaling rotary = Read("""{"rope_theta": 10000, "partial_rotary_factor": 0.4}""", headDim: 80);
        Assert.That((rotary.Dimensions, rotary.Frequencies(0, 0).Length), Is.EqualTo((32, 16)));
    }

    [Test]
    public void Frequencies_Linear_AreDivided()
    {
        RotaryScaling rotary = Read("""{"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}""", headDim: 8);
        Assert.That(rotary.Frequencies(0, 0), Is.EqualTo(new[] { 0.25, 0.025, 0.0025, 0.00025 }).Within(1e-12).Percent);
    }

    [Test]
    public void Frequencies_OnePairOfDimensions_IsScaledToo() =>
        Assert.That(Read("""{"partial_rotary_factor": 0.25, "rope_scaling": {"type": "linear", "factor": 4.0}}""", headDim: 8).Frequencies(0, 0), Is.EqualTo(new[] { 0.25 }));

    [Test]
    public void Frequencies_Llama3_BlendBetweenTheTwoWavelengths()
    {
        RotaryScaling rotary = Read(
            """{"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}""", headDim: 128);
        AssertFrequencies(rotary.Frequencies(0, 0), (0, 1), (1, 0.8146172338565447), (28, 0.003211445994752591), (29, 0.002166570763503359),
            (32, 0.0005248461609929547), (36, 7.78465527393245e-05), (40, 3.428102195952591e-05), (63, 3.068925988914511e-07));
    }

    [Test]
    public void Frequencies_Yarn_AreThoseOfTransformers()
    {
        // Printed by transformers 5.17's own function for theta 1e7, 64 rotary dimensions, factor 4 and 262144 positions.
        RotaryScaling rotary = Read(
            """{"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e7, "partial_rotary_factor": 0.25, "factor": 4.0, "original_max_position_embeddings": 262144}}""", headDim: 256);
        Assert.That(rotary.AttentionFactor, Is.EqualTo(1.138629436111989).Within(1e-14));
        AssertFrequencies(rotary.Frequencies(0, 0), tolerance: 1e-4, (0, 1), (1, 6.042963862e-01), (14, 8.659643354e-04), (15, 4.742398160e-04), (18, 7.217386883e-05), (21, 8.759770026e-06), (22, 3.849816039e-06), (31, 4.137042708e-08));
    }

    [Test]
    public void Frequencies_YarnUntruncated_KeepTheExactRamp()
    {
        RotaryScaling rotary = Read(
            """{"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000, "factor": 40, "truncate": false, "mscale": 1.0, "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096}}""", headDim: 64);
        Assert.That(rotary.AttentionFactor, Is.EqualTo(1.0857263992561355).Within(1e-6));
        AssertFrequencies(rotary.Frequencies(0, 0), (5, 0.23713737056616552), (12, 0.02771085847508042), (20, 0.0007226383418941807), (31, 3.3338035804083097e-06));
    }

    [TestCase(0, 0.03162277660168379)]
    [TestCase(2047, 0.03162277660168379)]
    [TestCase(2048, 0.031609550847333814)]
    [TestCase(4095, 0.019747833744140873)]
    public void Frequencies_Dynamic_FollowTheLengthSoFar(int position, double expected)
    {
        RotaryScaling rotary = Read("""{"rope_theta": 10000, "rope_scaling": {"type": "dynamic", "factor": 2.0}}""", headDim: 16);
        Assert.That(rotary.Frequencies(0, position)[3], Is.EqualTo(expected).Within(1e-10).Percent);
    }

    [Test]
    public void Frequencies_LongRope_ChooseFactorsByThePromptsLength()
    {
        RotaryScaling rotary = Read(
            """{"max_position_embeddings": 131072, "original_max_position_embeddings": 4096, "rope_scaling": {"type": "su", "short_factor": [1, 2], "long_factor": [4, 8]}}""", headDim: 4, maxContext: 131072);
        Assert.Multiple(() =>
        {
            Assert.That(rotary.AttentionFactor, Is.EqualTo(1.1902380714238083).Within(1e-14));
            Assert.That((rotary.Sections, rotary.SectionFor(4096), rotary.SectionFor(4097)), Is.EqualTo((2, 0, 1)));
            Assert.That(rotary.Frequencies(0, 0), Is.EqualTo(new[] { 1, 0.005 }).Within(1e-12).Percent);
            Assert.That(rotary.Frequencies(1, 0), Is.EqualTo(new[] { 0.25, 0.00125 }).Within(1e-12).Percent);
        });
    }

    [TestCase(1, 0, 1.0)]
    [TestCase(8192, 0, 1.0)]
    [TestCase(8193, 1, 0.4463065224118377)]
    [TestCase(16384, 1, 0.4463065224118377)]
    [TestCase(16385, 2, 0.4172811119300746)]
    [TestCase(32768, 2, 0.4172811119300746)]
    public void Frequencies_ByPrompt_GrowInSteps(int promptLength, int section, double frequency)
    {
        PromptRotaryScaling rotary = new(10_000, 128, TrainedContext: 8192, MaxContext: 32768);
        Assert.Multiple(() =>
        {
            Assert.That((rotary.Sections, rotary.SectionFor(promptLength)), Is.EqualTo((3, section)));
            if (section > 0) Assert.That(rotary.Frequencies(section, 0)[5], Is.EqualTo(frequency).Within(1e-10).Percent);
        });
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Fill_AnyChunk_GivesTheSameRows(bool dropsCache)
    {
        LongRotaryScaling scaling = new(10_000, 4, [1, 2], [4, 8], OriginalContext: 4, Temperature: 1.5, dropsCache);
        float[] whole = new float[2 * 6 * 4], pieces = new float[whole.Length];
        RotaryTable.Fill(scaling, positions: 6, first: 0, whole);
        for (int row = 0; row < 12; row += 5) RotaryTable.Fill(scaling, 6, row, pieces.AsSpan(row * 4, Math.Min(5, 12 - row) * 4));
        Assert.Multiple(() =>
        {
            Assert.That(pieces, Is.EqualTo(whole));
            // Position 3 of the second section: angles 3/4 and 3/800, times the temperature.
            Assert.That(whole[16], Is.EqualTo(1.5 * Math.Cos(dropsCache ? 4 : 1)).Within(1e-6), "Position 4, of a text that grew past the original context.");
            Assert.That(whole[36..40], Is.EqualTo(new[] { 1.5 * Math.Cos(0.75), 1.5 * Math.Cos(0.00375), 1.5 * Math.Sin(0.75), 1.5 * Math.Sin(0.00375) }).Within(1e-7));
        });
    }

    [TestCase("""{"rope_scaling": {"type": "ntk", "factor": 2}}""", "type")]
    [TestCase("""{"rope_parameters": {"rope_type": "proportional"}}""", "rope_type")]
    [TestCase("""{"rope_parameters": {"full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "default"}}}""", "rope_parameters")]
    public void Read_UnknownScheme_IsRefusedByName(string json, string field)
    {
        UnsupportedModelException exception = Assert.Throws<UnsupportedModelException>(() => Read(json, headDim: 8))!;
        Assert.That(exception.Field, Does.EndWith(field));
    }

    [TestCase("""{"rope_scaling": {"type": "linear"}}""", "factor")]
    [TestCase("""{"rope_scaling": {"type": "linear", "factor": -1}}""", "factor")]
    [TestCase("""{"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1}}""", "high_freq_factor")]
    [TestCase("""{"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1, 2, 3, 4]}}""", "short_factor")]
    [TestCase("""{"partial_rotary_factor": 0.25, "rope_scaling": {"type": "dynamic", "factor": 2}}""", "rope_scaling.type")]
    [TestCase("""{"partial_rotary_factor": 0.4}""", "partial_rotary_factor")]
    [TestCase("""{"rope_scaling": 42}""", "rope_scaling")]
    public void Read_ImpossibleValue_NamesTheField(string json, string field) =>
        Assert.That(() => Read(json, headDim: 8), Throws.InstanceOf<ModelLoadException>().With.Message.Contains(field).And.Message.Contains("config.json"));

    private static RotaryScaling Read(string json, int headDim, int maxContext = 2048)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return RotaryReader.Read(new ConfigReader("config.json", document.RootElement), headDim, maxContext, Defaults);
    }

    private static void AssertFrequencies(double[] actual, params ReadOnlySpan<(int Index, double Value)> expected) => AssertFrequencies(actual, 1e-10, expected);

    private static void AssertFrequencies(double[] actual, double tolerance, params ReadOnlySpan<(int Index, double Value)> expected)
    {
        foreach ((int index, double value) in expected) Assert.That(actual[index], Is.EqualTo(value).Within(tolerance).Percent, $"frequency {index}");
    }
}
