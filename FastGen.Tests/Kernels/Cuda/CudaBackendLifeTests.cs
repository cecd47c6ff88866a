using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Tests;

/// <summary>What a backend takes comes back, and once, wherever memory ends: seen on a device that is not there.</summary>
public sealed class CudaBackendLifeTests
{
    private static readonly ModelShape Shape = new() { Layers = 1, HiddenSize = 64, VocabularySize = 100, MlpColumns = 128, Heads = 4, KvHeads = 2, HeadDim = 16, MaxContext = 64, WeightType = DType.BF16 };
    private static readonly StepLimits Limits = new(64, 4, 16, 4);

    [Test]
    public void Prepare_MemoryEndsAnywhere_NothingIsLostOrGivenBackTwice()
    {
        for (int allowed = 0; ; allowed++)
        {
            using ImaginedDevice device = ImaginedDevice.Of("H200");
            using CudaBackend backend = device.Backend();
            backend.Prepare(Shape, Limits);
            (int memory, int events, int pinned) held = (device.Held.Count, device.Events.Count, device.Pinned.Count);
            int taken = 0;
            device.Taking = () =>
            {
                if (taken++ == allowed) throw new CudaOutOfMemoryException("no more");
            };
            bool failed = false;
            try
            {
                backend.Prepare(Shape, Limits with { Sequences = 3 });
            }
            catch (CudaOutOfMemoryException)
            {
                failed = true;
            }
            device.Taking = null;
            // Once more: what failed before must not be given back again.
            backend.Prepare(Shape, Limits);

            Assert.That((device.Held.Count, device.Events.Count, device.Pinned.Count), Is.EqualTo(held), $"after {allowed} allocations");
            if (!failed) break;
        }
    }

    [Test]
    public void Begin_SuppressedTokensOutgrowTheMetadataAndMemoryEnds_NothingIsLost()
    {
        for (int allowed = 0; allowed < 3; allowed++)
        {
            using ImaginedDevice device = ImaginedDevice.Of("H200");
            using CudaBackend backend = device.Backend();
            backend.Prepare(Shape, Limits);
            (int memory, int pinned) held = (device.Held.Count, device.Pinned.Count);
            RaggedBatch batch = new(Limits);
            batch.AddSequence(0, [1], 0, new int[4]);
            batch.AddLogitRow([.. Enumerable.Range(0, 99)]);
            int taken = 0;
            device.Taking = () =>
            {
                if (taken++ == allowed) throw new CudaOutOfMemoryException("no more");
            };

            Assert.That(() => backend.Embed(default, default, batch), Throws.TypeOf<CudaOutOfMemoryException>());

            Assert.That((device.Held.Count, device.Pinned.Count), Is.EqualTo(held), $"after {allowed} allocations");
        }
    }

    [Test]
    public void FreeKvLayer_AmongOthers_GivesItsOwnMemoryBack()
    {
        using ImaginedDevice device = ImaginedDevice.Of("H200");
        using CudaBackend backend = device.Backend();
        backend.Prepare(Shape, Limits);
        KvLayer first = backend.AllocateKvLayer(DType.BF16, 1, 16, 2, 16), second = backend.AllocateKvLayer(DType.BF16, 9, 16, 2, 16);
        int held = device.Held.Count;

        backend.FreeKvLayer(first);

        Assert.That((device.Held.Count, device.Held.Contains(first.Storage.Data), device.Held.Contains(second.Storage.Data)), Is.EqualTo((held - 1, false, true)));
    }

    [Test]
    public void Dispose_TwiceAndAfterAFailedPrepare_GivesEverythingBack()
    {
        ImaginedDevice device = ImaginedDevice.Of("A100");
        CudaBackend backend = device.Backend();
        device.Taking = () => throw new CudaOutOfMemoryException("none");
        Assert.That(() => backend.Prepare(Shape, Limits), Throws.TypeOf<CudaOutOfMemoryException>());
        device.Taking = null;
        backend.Prepare(Shape, Limits);

        backend.Dispose();
        backend.Dispose();

        Assert.That((device.Held.Count, device.Events.Count, device.Pinned.Count), Is.EqualTo((0, 0, 0)));
    }
}
