using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Tests;

/// <summary>How the attention of chunks and that of decodes share a device, and what a step then queues, both without one.</summary>
public sealed class AttentionSharingTests
{
    private const int Heads = 32, KvHeads = 8, HeadDim = 128, TileRows = 128;

    private static readonly AttentionWeights Attention = new() { Heads = Heads, KvHeads = KvHeads, HeadDim = HeadDim, Scale = 1 };

    // Llama-3-8B on 132 multiprocessors: decodes at a context beside a chunk that begins somewhere.
    [TestCase(32, 2600, 992, 1024, 49, Description = "three items for each CTA of the tiles, the memory nearly saturated")]
    [TestCase(64, 2600, 992, 1024, 56, Description = "decodes prevail")]
    [TestCase(8, 2600, 1100, 1024, 38, Description = "fewer CTAs of the tiles need no more rounds: the decodes cost nothing")]
    [TestCase(32, 600, 2000, 4096, 0, Description = "one more round of long items would cost more than the decodes")]
    [TestCase(32, 2600, 2000, 0, 48)]
    [TestCase(32, 2600, 512, 1024, 56, Description = "all items at once, or in two rounds beside many decodes")]
    [TestCase(8, 2600, 512, 1024, 0, Description = "a second round of items would cost more than the decodes")]
    [TestCase(2, 500, 992, 1024, 0, Description = "few keys to read")]
    [TestCase(32, 2600, 33, 0, 0, Description = "short tiles")]
    public void Reserved_LlamaOnHopper_BalancesBoth(int decodes, int context, int chunk, int from, int reserved)
    {
        AttentionPlan plan = Plan(decodes, context, chunk, from);

        Assert.That(AttentionSharing.Of(plan, Attention, 132).Reserved(plan.TileCount * KvHeads, shares: 1), Is.EqualTo(reserved));
    }

    [Test]
    public void Reserved_AnySizes_LeavesBothKernelsMultiprocessors([Values(7, 16, 114, 132)] int multiprocessors, [Values(1, 2, 8)] int shares)
    {
        foreach (double seconds in (double[])[1e-7, 1e-5, 1e-4, 1e-3])
        {
            foreach (double times in (double[])[0.01, 0.3, 1, 3, 100])
            {
                AttentionSharing sharing = new(multiprocessors, seconds * 3.8e12 * multiprocessors, times * seconds * 4e12 * multiprocessors / 132);
                for (int items = 1; items * shares <= multiprocessors || (shares == 1 && items < 5000); items++)
                {
                    foreach (bool always in (bool[])[false, true])
                    {
                        int reserved = sharing.Reserved(items, shares, always);
                        Assert.That(reserved, Is.InRange(0, Math.Max(1, multiprocessors * 56 / 132)));
                        // CTAs that share an item's keys have this item alone.
                        if (shares > 1) Assert.That(items * shares, Is.LessThanOrEqualTo(multiprocessors - reserved));
                        if (always && shares == 1) Assert.That(reserved, Is.Positive);
                    }
                    if (Math.Min(seconds, times * seconds) < 5e-6 && items >= multiprocessors) Assert.That(sharing.Reserved(items, shares), Is.Zero);
                }
            }
        }
    }

    [Test]
    public void Of_Plan_CountsKeysOfWholeTilesAndWindows()
    {
        AttentionPlan plan = Plan(3, 1000, 40, 200);
        // 160 packed rows: tiles that end at tokens 32 and 40.
        Assert.That((plan.SingleKeys, plan.TileKeys, plan.TileCount), Is.EqualTo((3000L, 232L + 240, 2)));

        AttentionSharing all = AttentionSharing.Of(plan, Attention, 132), windowed = AttentionSharing.Of(plan, Attention with { Window = 50 }, 132), wide = AttentionSharing.Of(plan, Attention with { Window = 5000 }, 132);

        Assert.That(all, Is.EqualTo(new AttentionSharing(132, 4.0 * KvHeads * HeadDim * TileRows * 472, 4.0 * KvHeads * HeadDim * 3000)));
        Assert.That(windowed, Is.EqualTo(new AttentionSharing(132, 4.0 * KvHeads * HeadDim * TileRows * 2 * (50 + 33), 4.0 * KvHeads * HeadDim * 150)));
        Assert.That(wide, Is.EqualTo(all));
    }

    [TestCase(null, 49)]
    [TestCase(true, 49)]
    [TestCase(false, 0)]
    public void Submit_DecodesAndAChunk_ForksAroundTheirAttention(bool? shares, int reserved)
    {
        List<KernelLaunch> attention = Launches("H200", new CudaOptions { SharesAttention = shares }, Attention, 32, 992, out ImaginedDevice device);

        Assert.That(attention.Select(launch => (launch.Kernel, launch.Beside)), Is.EqualTo(((string, bool)[])[("begin_step", false), ("store_kv", false), ("attention_wgmma", false), ("attention_split", reserved > 0)]));
        Assert.That(attention[2].Grid.X, Is.EqualTo(132 - reserved));
        Assert.That(attention[3].Grid, Is.EqualTo((KvHeads, 1, 32)));
        Assert.That(device.Forks, Is.EqualTo(reserved > 0 ? [(2, 4)] : (IEnumerable<(int, int)>)[]));
    }

    [Test]
    public void Submit_OneKindOfRowsOrOtherKernels_DoesNotFork()
    {
        CudaOptions always = new() { SharesAttention = true };
        foreach ((string name, CudaOptions options, int decodes, int chunk) in ((string, CudaOptions, int, int)[])
        [
            ("H200", always, 32, 0), ("H200", always with { UseGraphs = false }, 32, 0), ("H200", always, 0, 992), ("H200", always with { Deterministic = true }, 32, 992),
            ("H200", always with { UseHopperInstructions = false }, 32, 992), ("A100", always, 32, 992), ("H200", new CudaOptions(), 1, 992),
        ])
        {
            List<KernelLaunch> launches = Launches(name, options, Attention, decodes, chunk, out ImaginedDevice device);

            Assert.That(launches.Where(launch => launch.Beside), Is.Empty);
            Assert.That(device.Forks, Is.Empty);
        }
    }

    private static AttentionPlan Plan(int decodes, int context, int chunk, int from)
    {
        StepLimits limits = new(4096, decodes + 1, 16, 512);
        AttentionPlan plan = new(limits, Heads / KvHeads, TileRows);
        plan.Fill(Batch(limits, decodes, context, chunk, from), new int[plan.Capacity], splitSingles: true);
        return plan;
    }

    private static List<KernelLaunch> Launches(string kind, CudaOptions options, AttentionWeights attention, int decodes, int chunk, out ImaginedDevice device)
    {
        device = ImaginedDevice.Of(kind);
        using CudaBackend backend = device.Backend(options);
        StepLimits limits = new(1024, 33, 16, 512);
        backend.Prepare(new ModelShape { Layers = 1, HiddenSize = 64, VocabularySize = 100, MlpColumns = 64, Heads = Heads, KvHeads = KvHeads, HeadDim = HeadDim, MaxContext = 8192, WeightType = DType.BF16 }, limits);
        KvLayer cache = backend.AllocateKvLayer(DType.BF16, 1, 16, KvHeads, HeadDim);
        Tensor qkv = backend.Allocate(DType.F32, limits.Tokens, (Heads + (2 * KvHeads)) * HeadDim), output = backend.Allocate(DType.BF16, limits.Tokens, Heads * HeadDim);
        RaggedBatch batch = Batch(limits, decodes, 2600, chunk, 1024);
        return [.. device.Rehearse(() => backend.Submit(batch, (rows, _) =>
        {
            backend.StoreKv(qkv.WithRows(rows), cache, attention, batch);
            backend.Attention(output.WithRows(rows), qkv.WithRows(rows), cache, attention, batch);
        }))];
    }

    private static RaggedBatch Batch(StepLimits limits, int decodes, int context, int chunk, int from)
    {
        RaggedBatch batch = new(limits);
        int[] blocks = new int[limits.BlocksPerSequence];
        for (int slot = 0; slot < decodes; slot++)
        {
            batch.AddSequence(slot, [1], context - 1, blocks);
            batch.AddLogitRow();
        }
        if (chunk > 0) batch.AddSequence(limits.Sequences - 1, new int[chunk], from, blocks);
        return batch;
    }
}
