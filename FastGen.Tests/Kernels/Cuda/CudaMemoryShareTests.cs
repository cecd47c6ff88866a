using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>What steps, cache and what comes after them may take of a device: checked without one.</summary>
public sealed class CudaMemoryShareTests
{
    private const long Gigabyte = 1L << 30, CublasWorkspace = 64 << 20;

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

        Assert.That(device.TakenBytes - weights + CublasWorkspace, Is.LessThan(CudaBackend.LargestStepBytes(gigabytes * Gigabyte)));
    }

    [TestCase(8, 4096)]
    [TestCase(24, 4096)]
    [TestCase(40, 4096)]
    [TestCase(48, 8192)]
    [TestCase(80, 8192)]
    [TestCase(141, 8192)]
    public void TokenBudget_Devices_GrowsWithTheirMemory(int gigabytes, int tokens) => Assert.That(CudaBackend.TokenBudgetOf(gigabytes * Gigabyte), Is.EqualTo(tokens));

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
