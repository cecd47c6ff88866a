using FastGen.Compute;
using FastGen.Kernels;
using FastGen.Kernels.Cpu;
using FastGen.Kernels.Reference;

namespace FastGen.Tests.Kernels;

public sealed class CheckedBackendTests
{
    private IBackend _backend = null!;
    private Tensor _rows, _output, _weight, _vector;

    [SetUp]
    public void Start()
    {
        _backend = new CheckedBackend(new ReferenceBackend());
        _rows = _backend.Allocate(DType.F32, 4, 8);
        _output = _backend.Allocate(DType.F32, 4, 6);
        _weight = _backend.AllocateWeights(DType.BF16, 6, 8);
        _vector = _backend.Allocate(DType.F32, 1, 6);
    }

    [TearDown]
    public void End() => _backend.Dispose();

    [Test]
    public void Step_SoundDecoder_GivesWhatTheInnerBackendGives()
    {
        using MiniDecoder plain = new(new ReferenceBackend(), DType.BF16, slots: 3, tokens: 32);
        using MiniDecoder guarded = new(new CheckedBackend(new ReferenceBackend()), DType.BF16, slots: 3, tokens: 32);
        foreach (MiniDecoder decoder in new[] { plain, guarded }) decoder.Sequences.Next((0, [3, 4, 5]), (2, [6]));
        Assert.That(guarded.Logits(), Is.EqualTo(plain.Logits()));
    }

    // What an interface does by default it does by the wrapper's other members: the inner backend's own version would never run, and nothing would tell.
    [TestCase(typeof(CheckedBackend))]
    [TestCase(typeof(ObservedBackend))]
    public void Wrapper_EveryMember_IsPassedOn(Type wrapper)
    {
        System.Reflection.InterfaceMapping map = wrapper.GetInterfaceMap(typeof(IBackend));
        Assert.That(map.TargetMethods.Where(method => method.DeclaringType != wrapper).Select(method => method.Name), Is.Empty);
    }

    [Test]
    public void ProjectQkv_WrongOperands_NamesOperationAndSizes()
    {
        StepLimits limits = new(8, 2, 4, 2);
        _backend.Prepare(Batches.Shape(vocabularySize: 10), limits);
        RaggedBatch batch = new(limits);
        batch.AddSequence(0, [1], 0, [0]);
        AttentionWeights attention = new() { Heads = 2, KvHeads = 2, HeadDim = 1, Scale = 1 };
        KvLayer cache = _backend.AllocateKvLayer(DType.F32, 2, 4, 2, 1);
        void Project(Tensor qkv, KvLayer layer, AttentionWeights heads) => _backend.Submit(batch, (_, _) => _backend.ProjectQkv(qkv, new LinearInput(_rows), new LinearWeights(_weight), layer, heads, batch));
        AssertFault(() => Project(_output.WithRows(3), cache, attention), "ProjectQkv", "[3, 6]", "[4, 6]");
        AssertFault(() => Project(_output, cache, attention with { KvHeads = 1 }), "ProjectQkv", "4 columns");
        AssertFault(() => Project(_output, cache, attention with { Rotary = _rows }), "ProjectQkv", "rotary table");
        AssertFault(() => Project(_output, cache with { Storage = _rows }, attention), "ProjectQkv", "no cache layer");

        void ProjectBoth(Tensor up, AttentionWeights heads) => _backend.Submit(batch, (_, _) =>
            _backend.ProjectQkvAndUp(_output, up, new LinearInput(_rows), new LinearWeights(_weight), new LinearWeights(_weight), Activation.Relu, cache, heads, batch));
        AssertFault(() => ProjectBoth(_output.WithRows(3), attention), "ProjectQkvAndUp", "up", "[3, 6]", "[4, 6]");
        AssertFault(() => ProjectBoth(_rows, attention), "ProjectQkvAndUp", "up weights");
        AssertFault(() => ProjectBoth(_output, attention with { KvHeads = 1 }), "ProjectQkvAndUp", "4 columns");
    }

    [Test]
    public void LinearSum_WrongOperands_NamesOperationAndSizes()
    {
        LinearWeights weights = new(_weight);
        AssertFault(() => _backend.LinearSum(_output, _rows, weights, _rows.WithRows(3), weights), "LinearSum", "second", "[3, ");
        AssertFault(() => _backend.LinearSum(_output, _rows, weights, _output, weights), "LinearSum", "second weights");
        AssertFault(() => _backend.LinearSum(_output.WithRows(3), _rows, weights, _rows, weights), "LinearSum", "output", "[3, 6]");
    }

    [Test]
    public void Linear_WrongOperands_NamesOperationAndSizes()
    {
        LinearWeights weights = new(_weight);
        AssertFault(() => _backend.Linear(_output, new LinearInput(_output), weights), "Linear", "[6, 8] BF16", "[6, 6]");
        AssertFault(() => _backend.Linear(_output.WithRows(3), new LinearInput(_rows), weights), "Linear", "[3, 6]", "[4, 6]");
        AssertFault(() => _backend.Linear(_output, new LinearInput(_rows), new LinearWeights(_rows)), "Linear", "no whole weight matrix");
        AssertFault(() => _backend.Linear(_output, new LinearInput(_rows), new LinearWeights(_weight, _rows)), "Linear", "bias");
        AssertFault(() => _backend.Linear(_output, new LinearInput(new Tensor(1234, DType.F32, 4, 8)), weights), "Linear", "not allocated");
        AssertFault(() => _backend.Linear(_output, new LinearInput(_rows.WithRows(5)), weights), "Linear", "[5, 8]", "[4, 8]");
        AssertFault(() => _backend.Linear(_output, new LinearInput(_rows, new NormWeights(NormKind.Rms, _vector, null, 0)), weights), "Linear", "scale", "[1, 8]");
    }

    [Test]
    public void Upload_OutsideTarget_NamesTheRows()
    {
        AssertFault(() => _backend.Upload(new byte[64], DType.F32, _weight, firstRow: 5), "Upload", "5 to 7", "6 rows");
        AssertFault(() => _backend.Upload(new byte[20], DType.F32, _weight), "Upload", "20 bytes");
    }

    [Test]
    public void Allocate_NoRows_IsRefused() => AssertFault(() => _backend.Allocate(DType.F32, 0, 4), "Allocate", "[0, 4]");

    [Test]
    public void FreeKvLayer_NoLayerOrTwiceOrInUse_IsRefused()
    {
        StepLimits limits = new(8, 2, 4, 2);
        _backend.Prepare(Batches.Shape(vocabularySize: 10), limits);
        KvLayer layer = _backend.AllocateKvLayer(DType.F32, 2, 4, 2, 1);
        RaggedBatch batch = new(limits);
        batch.AddSequence(0, [1], 0, [0]);
        AssertFault(() => _backend.FreeKvLayer(layer with { Storage = _rows }), "FreeKvLayer", "no cache layer");
        long ticket = _backend.Submit(batch, (_, _) => { });
        AssertFault(() => _backend.FreeKvLayer(layer), "FreeKvLayer", "1 steps are uncollected");
        _backend.Collect(ticket, []);
        _backend.FreeKvLayer(layer);
        AssertFault(() => _backend.FreeKvLayer(layer), "FreeKvLayer", "not allocated");
    }

    [Test]
    public void FreeKvLayer_OfTheProcessorTwice_IsRefused()
    {
        foreach (IBackend backend in (IBackend[])[new ReferenceBackend(), CpuBackend.Create(threads: 1)])
        {
            using (backend)
            {
                KvLayer layer = backend.AllocateKvLayer(DType.F32, 2, 4, 2, 1);
                backend.FreeKvLayer(layer);
                Assert.That(() => backend.FreeKvLayer(layer), Throws.ArgumentException);
            }
        }
    }

    [Test]
    public void Submit_FaultyBatch_SaysWhatIsWrong()
    {
        StepLimits limits = new(8, 2, 4, 2);
        _backend.Prepare(Batches.Shape(vocabularySize: 10), limits);
        RaggedBatch batch = new(limits);
        void AssertSubmitFault(Action fill, params string[] parts)
        {
            batch.Clear();
            fill();
            AssertFault(() => _backend.Submit(batch, (_, _) => { }), ["Submit", .. parts]);
        }

        AssertSubmitFault(() => { }, "empty");
        AssertSubmitFault(() => batch.AddSequence(0, [10], 0, [0]), "token 10");
        AssertSubmitFault(() => batch.AddSequence(0, [~2], 0, [0]), "slot below 2");
        AssertSubmitFault(() => batch.AddSequence(0, [1], 0, [3]), "place 12", "block 0");
        AssertSubmitFault(() => batch.AddSequence(2, [1], 0, [0]), "slot 2");
        AssertSubmitFault(() => batch.AddSequence(0, [1], 9, [0, 0, 0]), "context of 10");
        AssertSubmitFault(
            () =>
            {
                batch.AddSequence(1, [1], 0, [0]);
                batch.AddSequence(1, [1], 0, [0]);
            },
            "slot 1");
        AssertSubmitFault(() => batch.SetBlock(1, 2, 0), "empty");
        AssertSubmitFault(
            () =>
            {
                batch.SetBlock(1, 2, 0);
                batch.AddSequence(0, [1], 0, [0]);
            },
            "entry 2");
    }

    [Test]
    public void Embed_OutsideAStep_IsRefused()
    {
        StepLimits limits = new(8, 2, 4, 2);
        RaggedBatch batch = new(limits);
        batch.Clear();
        batch.AddSequence(0, [1], 0, [0]);
        AssertFault(() => _backend.Embed(_rows, _weight, batch), "Embed", "not the one being submitted");
        AssertFault(() => _backend.Submit(batch, (_, _) => { }), "Submit", "Prepare");
    }

    [Test]
    public void Collect_UnknownStep_NamesIt()
    {
        AssertFault(() => _backend.Collect(7, new int[1]), "Collect", "step 7");
    }

    private static void AssertFault(Action action, params string[] parts)
    {
        string message = Assert.Throws<ArgumentException>(action)!.Message;
        Assert.Multiple(() =>
        {
            foreach (string part in parts) Assert.That(message, Does.Contain(part));
        });
    }
}
