using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Tests;

public sealed class AttentionSplittingTests
{
    private static readonly AttentionSplitting Llama = new(132, 227 << 10, Hopper: true, KvHeads: 8, Group: 4, HeadDim: 128);

    [TestCase(1, 64, 1, 12)]
    [TestCase(1, 130, 2, 5)]
    [TestCase(1, 300, 4, 5)]
    [TestCase(1, 360, 4, 6)]
    [TestCase(1, 511, 4, 8)]
    [TestCase(1, 700, 8, 6)]
    [TestCase(1, 4096, 32, 8)]
    [TestCase(2, 4096, 16, 8)]
    [TestCase(4, 520, 8, 5)]
    [TestCase(4, 2000, 4, 12)]
    [TestCase(8, 500, 4, 8)]
    [TestCase(8, 520, 2, 16)]
    [TestCase(16, 520, 2, 12)]
    [TestCase(32, 520, 1, 12)]
    public void Shape_LlamaOnHopper_FillsTheDevice(int sequences, int context, int splits, int slots) =>
        Assert.That(Llama.Shape(sequences, context, (long)sequences * context), Is.EqualTo(new SplitShape(splits, Warps: 4, slots)));

    [TestCase(34, 9)]
    [TestCase(48, 9)]
    [TestCase(50, 6)]
    [TestCase(64, 6)]
    [TestCase(66, 6)]
    [TestCase(128, 6)]
    public void Shape_MoreThanLargeCtasHold_AreSmall(int sequences, int slots) =>
        Assert.That(Llama.Shape(sequences, 4096, sequences * 4000L), Is.EqualTo(new SplitShape(Splits: 1, Warps: 2, slots)));

    // Phi-2's: a query head for each key/value head.
    [TestCase(16, 2, 11)]
    [TestCase(32, 4, 12)]
    public void Shape_HeadsShareNoKeys_AreSmallOnlyIfAllAtOnce(int sequences, int warps, int slots) =>
        Assert.That(new AttentionSplitting(132, 227 << 10, Hopper: true, KvHeads: 32, Group: 1, HeadDim: 80).Shape(sequences, 520, sequences * 520L), Is.EqualTo(new SplitShape(Splits: 1, warps, slots)));

    [Test]
    public void Shape_OneContextIsLong_KeepsLargeCtas() =>
        Assert.That(Llama.Shape(64, 4096, 64 * 600L), Is.EqualTo(new SplitShape(Splits: 1, Warps: 4, Slots: 12)));

    [TestCase(99, 4, 12)]
    [TestCase(99, 8, 12)]
    [TestCase(99, 9, 8)]
    [TestCase(163, 16, 12)]
    public void Shape_LargeGroupsOnSmallSharedMemory_HasFewerSlots(int kibibytes, int group, int slots)
    {
        AttentionSplitting splitting = new(82, kibibytes << 10, Hopper: false, KvHeads: 8, group, HeadDim: 128);

        SplitShape shape = splitting.Shape(100, 500, 100 * 500L);
        Assert.That(shape, Is.EqualTo(new SplitShape(Splits: 1, Warps: 4, slots)));
        Assert.That(splitting.CompiledStages(shape), Is.EqualTo(slots / 4));
    }

    [TestCase(99, 256, false)]
    [TestCase(99, 176, true)]
    [TestCase(163, 256, true)]
    public void Fits_WideHeads_WhereTwoStagesDo(int kibibytes, int headDim, bool fits) =>
        Assert.That(new AttentionSplitting(82, kibibytes << 10, Hopper: false, KvHeads: 8, Group: 8, headDim).Fits, Is.EqualTo(fits));

    [TestCase(64)]
    [TestCase(80)]
    [TestCase(96)]
    [TestCase(128)]
    [TestCase(256)]
    public void Tiling_OnHopper_Fits(int headDim) => Assert.That(AttentionTiling.ForHopper(headDim).Fits(headDim, 227 << 10));

    [TestCase(128, true)]
    [TestCase(144, true)]
    [TestCase(160, false)]
    public void Tiling_OnSmallSharedMemory_FitsUpToSomeWidth(int headDim, bool fits) => Assert.That(default(AttentionTiling).Fits(headDim, 99 << 10), Is.EqualTo(fits));
}
