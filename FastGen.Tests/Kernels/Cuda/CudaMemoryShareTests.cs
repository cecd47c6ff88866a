using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>What steps, cache and what comes after them may take of a device: checked without one.</summary>
public sealed class CudaMemoryShareTests
{
    private const long Gigabyte = 1L << 30;

    [TestCase(12, "Phi-2")]
    [TestCase(24, "OPT-6.7B")]
    [TestCase(24, "Llama-3-8B")]
    [TestCase(24, "Qwen2.5-7B")]
    [TestCase(24, "Falcon-7B")]
    [TestCase(24, "heads of 256")]
    [TestCase(141, "Llama-3-70B")]
    public void TokenBudget_LargestStep_TakesNoMoreThanItsShare(int gigabytes, string model)
    {
        int tokens = CudaBackend.TokenBudgetOf(gigabytes * Gigabyte);
        ImaginedDevice device = ImaginedDevice.Of("RTX 3090");
        using ObservedBackend backend = new(device.Backend()) { Uploading = (_, _, _) => true };
        using UnreadCheckpoint checkpoint = new(DType.BF16);
        ModelShape shape = ModelLoader.Load(ModelConfig.Parse(CudaLaunchTests.Config(model)), checkpoint, backend, new ModelLoadOptions()).Shape;
        long weights = device.TakenBytes;

        StepLimits limits = new(tokens, new EngineOptions().MaxSequences, 16, (shape.MaxContext + 15) / 16);
        backend.Prepare(shape, limits);
        _ = new Activations(backend, shape, limits);

        Assert.That(device.TakenBytes - weights, Is.LessThan(CudaBackend.LargestStepBytes(gigabytes * Gigabyte)));
    }

    [TestCase(8, 4096)]
    [TestCase(24, 4096)]
    [TestCase(40, 4096)]
    [TestCase(48, 8192)]
    [TestCase(80, 8192)]
    [TestCase(141, 8192)]
    public void TokenBudget_Devices_GrowsWithTheirMemory(int gigabytes, int tokens) => Assert.That(CudaBackend.TokenBudgetOf(gigabytes * Gigabyte), Is.EqualTo(tokens));

    [TestCase(100, 141, 100 - (141.0 / 32))]
    [TestCase(6, 24, 5)]
    [TestCase(0.75, 24, 0.375)]
    [TestCase(0, 8, 0)]
    public void DefaultCacheBytes_Free_LessTheReserveOrHalf(double free, int total, double expected)
    {
        ImaginedDevice device = ImaginedDevice.Of("RTX 3090");
        device.Available = ((long)(free * Gigabyte), total * Gigabyte);
        using CudaBackend backend = device.Backend();
        Assert.That(backend.DefaultCacheBytes, Is.EqualTo((long)(expected * Gigabyte)));
    }

    [Test]
    public void DefaultCacheBytes_Prepared_LeavesWhatRequestsMayAskFor()
    {
        ImaginedDevice device = ImaginedDevice.Of("RTX 3090");
        device.Available = (20 * Gigabyte, 24 * Gigabyte);
        using CudaBackend backend = device.Backend();
        backend.Prepare(new ModelShape { Layers = 1, HiddenSize = 64, VocabularySize = 1000, MlpColumns = 128, Heads = 4, KvHeads = 2, HeadDim = 16, MaxContext = 64, WeightType = DType.BF16 }, new StepLimits(64, 50, 16, 4));
        Assert.That(backend.DefaultCacheBytes, Is.EqualTo((19 * Gigabyte) - (2 * 50 * 1000 * sizeof(float))));
    }

    [Test]
    public void Scratch_NoRoomToDouble_TakesWhatIsAsked()
    {
        using ImaginedDevice device = ImaginedDevice.Of("RTX 3090");
        device.MostBytes = 250;
        CudaScratch scratch = new(device);

        nint first = scratch.Get(ScratchUse.Product, 100), second = scratch.Get(ScratchUse.Product, 150);

        Assert.That((second != first, device.TakenBytes), Is.EqualTo((true, 250L)));
        Assert.That(scratch.Get(ScratchUse.Product, 150), Is.EqualTo(second));
        Assert.That(() => scratch.Get(ScratchUse.Product, 151), Throws.TypeOf<CudaOutOfMemoryException>().With.Message.StartsWith("151 bytes"));
    }
}
