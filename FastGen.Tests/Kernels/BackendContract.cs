using FastGen.Compute;

namespace FastGen.Tests.Kernels;

/// <summary>What every backend must do: each operation compared with the reference over sizes that fit no register and no tile.</summary>
public abstract partial class BackendContract
{
    private static readonly DType[] Types = [DType.F32, DType.F16, DType.BF16];
    private static readonly Activation[] Activations = Enum.GetValues<Activation>();

    protected TwinBackends Twins { get; private set; } = null!;

    /// <summary>Largest difference from the reference, as a share of the largest magnitude.</summary>
    protected abstract float Tolerance { get; }

    protected abstract IBackend CreateBackend();

    [SetUp]
    public void Start() => Twins = new TwinBackends(CreateBackend());

    // No twins where the processor or device lacks what the fixture tests: its tests were skipped at their start.
    [TearDown]
    public void End() => Twins?.Dispose();

    [Test]
    public void Upload_RowMajorRowsOfOtherType_ConvertsThem([ValueSource(nameof(Types))] DType type)
    {
        float[] values = Twins.Values(5 * 37);
        TwinBackends.Pair pair = new(Twins.Tested.Allocate(type, 9, 37), Twins.Reference.Allocate(type, 9, 37));
        Twins.Tested.Upload(TwinBackends.Bytes(values), DType.F32, pair.Tested, firstRow: 3);
        Twins.Reference.Upload(TwinBackends.Bytes(values), DType.F32, pair.Reference, firstRow: 3);
        Twins.AssertClose(pair, 0, "uploaded");
    }

    [Test]
    public void UploadBuffer_FilledAndUploaded_IsWhatWasFilled([ValueSource(nameof(Types))] DType type)
    {
        TwinBackends.Pair pair = new(Twins.Tested.Allocate(type, 9, 37), Twins.Reference.Allocate(type, 9, 37));
        foreach (int firstRow in new[] { 0, 4, 7 })
        {
            ReadOnlySpan<byte> values = TwinBackends.Bytes(Twins.Values(2 * 37));
            foreach ((IBackend backend, Tensor target) in new[] { (Twins.Tested, pair.Tested), (Twins.Reference, pair.Reference) })
            {
                Memory<byte> buffer = backend.UploadBuffer(values.Length);
                Assert.That(buffer.Length, Is.EqualTo(values.Length));
                values.CopyTo(buffer.Span);
                backend.Upload(buffer.Span, DType.F32, target, firstRow);
            }
        }
        Twins.AssertClose(pair, 0, "uploaded");
    }

    [TestCase(1, 1)]
    [TestCase(7, 17)]
    [TestCase(33, 20)]
    [TestCase(97, 129)]
    public void Upload_WeightsInPieces_EmbedReadsTheRows(int rows, int columns)
    {
        foreach (DType type in Types)
        {
            TwinBackends.Pair table = new(Twins.Tested.AllocateWeights(type, rows, columns), Twins.Reference.AllocateWeights(type, rows, columns));
            for (int row = 0; row < rows;)
            {
                int count = Math.Min(1 + Twins.Next(40), rows - row);
                float[] piece = Twins.Values(count * columns);
                Twins.Tested.Upload(TwinBackends.Bytes(piece), DType.F32, table.Tested, row);
                Twins.Reference.Upload(TwinBackends.Bytes(piece), DType.F32, table.Reference, row);
                row += count;
            }
            RaggedBatch batch = Batches.Of([.. Enumerable.Range(0, rows).Reverse()]);
            TwinBackends.Pair output = Twins.Rows(rows, columns);
            OnBoth(batch, (backend, isTested) => backend.Embed(isTested ? output.Tested : output.Reference, isTested ? table.Tested : table.Reference, batch));
            Twins.AssertClose(output, Tolerance, $"{type}");
        }
    }

    [Test]
    public void AddPositions_WithOffset_AddsRowsOfTable()
    {
        TwinBackends.Pair output = Twins.Rows(6, 37), table = Twins.Table(Twins.Values(20 * 37), 37);
        RaggedBatch batch = Batches.Of([1, 2, 3, 4, 5, 6], firstPosition: 4);
        OnBoth(batch, (backend, isTested) => backend.AddPositions(isTested ? output.Tested : output.Reference, isTested ? table.Tested : table.Reference, 2, batch));
        Twins.AssertClose(output, Tolerance, "positions");
    }

    [Test]
    public void Norm_EveryKindAndLength_MatchesReference([Values] NormKind kind, [Values] bool beta)
    {
        foreach (int columns in Lengths())
        {
            TwinBackends.Pair input = Twins.Rows(3, columns), output = Twins.Rows(3, columns);
            (NormWeights tested, NormWeights reference) = Twins.Norm(kind, columns, beta);
            Twins.Tested.Norm(output.Tested, input.Tested, tested);
            Twins.Reference.Norm(output.Reference, input.Reference, reference);
            Twins.AssertClose(output, 4 * Tolerance, $"{columns} columns");
            Twins.Tested.Norm(input.Tested, input.Tested, tested);
            Twins.Reference.Norm(input.Reference, input.Reference, reference);
            Twins.AssertClose(input, 4 * Tolerance, $"{columns} columns in place");
        }
    }

    [Test]
    public void Linear_Every16BitWeight_IsReadExactly([Values(DType.F16, DType.BF16)] DType type, [Values(1, 2, 8, 40)] int rows)
    {
        const int Patterns = 1 << 16;
        byte[] bits = [.. Enumerable.Range(0, Patterns).SelectMany(pattern => new[] { (byte)pattern, (byte)(pattern >> 8) })];
        TwinBackends.Pair weight = new(Twins.Tested.AllocateWeights(type, Patterns, 1), Twins.Reference.AllocateWeights(type, Patterns, 1));
        Twins.Tested.Upload(bits, type, weight.Tested);
        Twins.Reference.Upload(bits, type, weight.Reference);
        float[] ones = new float[rows];
        Array.Fill(ones, 1);
        TwinBackends.Pair input = Twins.Table(ones, 1);
        Tensor tested = Twins.Tested.Allocate(DType.F32, rows, Patterns), reference = Twins.Reference.Allocate(DType.F32, rows, Patterns);
        Twins.Tested.Linear(tested, new LinearInput(input.Tested), new LinearWeights(weight.Tested));
        Twins.Reference.Linear(reference, new LinearInput(input.Reference), new LinearWeights(weight.Reference));
        Assert.That(TwinBackends.Read(Twins.Tested, tested).AsSpan().SequenceEqual(TwinBackends.Read(Twins.Reference, reference)));
    }

    [Test]
    public void Linear_EveryShortLength_MatchesReference([ValueSource(nameof(Types))] DType type)
    {
        for (int size = 1; size <= 67; size++)
        {
            CheckLinear(type, rows: 1 + (size % 5), size, 1 + ((size * 7) % 40));
            CheckLinear(type, rows: 1 + (size % 3), 1 + ((size * 5) % 40), size);
        }
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(6)]
    [TestCase(7)]
    [TestCase(8)]
    [TestCase(12)]
    [TestCase(17)]
    [TestCase(97)]
    [TestCase(205)]
    public void Linear_OddSizes_MatchesReference(int rows)
    {
        foreach (DType type in Types)
        {
            CheckLinear(type, rows, 577, 129);
            CheckLinear(type, rows, 129, 577);
        }
    }

    [Test]
    public void Linear_NormBiasActivationAccumulate_MatchesReference([ValueSource(nameof(Activations))] Activation activation, [Values] bool bias, [Values] bool accumulate, [Values] NormKind kind)
    {
        TwinBackends.Pair input = Twins.Rows(5, 97, scale: 3), output = Twins.Rows(5, 37);
        (NormWeights tested, NormWeights reference) = Twins.Norm(kind, 97, beta: bias);
        (LinearWeights testedLinear, LinearWeights referenceLinear) = Twins.Linear(DType.BF16, 37, 97, bias);
        Twins.Tested.Linear(output.Tested, new LinearInput(input.Tested, tested), testedLinear, activation, accumulate);
        Twins.Reference.Linear(output.Reference, new LinearInput(input.Reference, reference), referenceLinear, activation, accumulate);
        Twins.AssertClose(output, 4 * Tolerance, "linear");
    }

    [Test]
    public void Linear_IntoItsOwnInput_ReadsItFirst()
    {
        foreach (int rows in new[] { 1, 14 })
        {
            TwinBackends.Pair hidden = Twins.Rows(rows, 65);
            (LinearWeights tested, LinearWeights reference) = Twins.Linear(DType.F32, 65, 65, bias: false);
            Twins.Tested.Linear(hidden.Tested, new LinearInput(hidden.Tested), tested, accumulate: true);
            Twins.Reference.Linear(hidden.Reference, new LinearInput(hidden.Reference), reference, accumulate: true);
            Twins.AssertClose(hidden, Tolerance, $"{rows} rows");
        }
    }

    [Test]
    public void Linear_NoRows_DoesNothing()
    {
        TwinBackends.Pair input = Twins.Rows(2, 33), output = Twins.Rows(2, 65);
        (LinearWeights tested, _) = Twins.Linear(DType.BF16, 65, 33, bias: true);
        Twins.Tested.Linear(output.Tested.WithRows(0), new LinearInput(input.Tested.WithRows(0)), tested);
        Twins.AssertClose(output, 0, "untouched");
    }

    [Test]
    public void Activations_OverTheirRange_MatchReference([ValueSource(nameof(Activations))] Activation activation)
    {
        const int Columns = 2001;
        float[] values = [.. Enumerable.Range(0, Columns).Select(i => (i - 1000) / 40f), float.NaN];
        (LinearWeights tested, LinearWeights reference) = Twins.Linear(DType.F32, values.Length, 1, bias: false);
        Twins.Tested.Upload(TwinBackends.Bytes(values), DType.F32, tested.Weight);
        Twins.Reference.Upload(TwinBackends.Bytes(values), DType.F32, reference.Weight);
        TwinBackends.Pair one = Twins.Table([1], 1), output = Twins.Rows(1, values.Length);
        Twins.Tested.Linear(output.Tested, new LinearInput(one.Tested), tested, activation);
        Twins.Reference.Linear(output.Reference, new LinearInput(one.Reference), reference, activation);
        Twins.AssertClose(output, Tolerance, $"{activation}");
    }

    [TestCase(1, 7)]
    [TestCase(3, 17)]
    [TestCase(14, 37)]
    [TestCase(2, 64)]
    [TestCase(97, 300)]
    public void GatedLinear_OddSizes_MatchesReference(int rows, int hidden)
    {
        foreach (DType type in Types)
        {
            foreach (bool bias in new[] { false, true })
            {
                TwinBackends.Pair input = Twins.Rows(rows, 129), output = Twins.Rows(rows, hidden);
                (NormWeights tested, NormWeights reference) = Twins.Norm(NormKind.Rms, 129, beta: false);
                (LinearWeights testedLinear, LinearWeights referenceLinear) = Twins.Linear(type, 2 * hidden, 129, bias);
                Twins.Tested.GatedLinear(output.Tested, new LinearInput(input.Tested, tested), testedLinear, Activation.Silu);
                Twins.Reference.GatedLinear(output.Reference, new LinearInput(input.Reference, reference), referenceLinear, Activation.Silu);
                Twins.AssertClose(output, 4 * Tolerance, $"{type}, bias {bias}");
            }
        }
    }

    [TestCase(1, 8, 2, true, 32)]
    [TestCase(5, 8, 2, true, 17)]
    [TestCase(64, 4, 1, false, 40)]
    [TestCase(33, 16, 8, false, 24)]
    [TestCase(3, 3, 3, true, 7)]
    public void MixtureOfExperts_IntoItsOwnInput_MatchesReference(int rows, int experts, int topK, bool normalize, int hidden)
    {
        const int Model = 49;
        TwinBackends.Pair stream = Twins.Rows(rows, Model);
        (NormWeights tested, NormWeights reference) = Twins.Norm(NormKind.Rms, Model, beta: false);
        (LinearWeights testedRouter, LinearWeights referenceRouter) = Twins.Linear(DType.F32, experts, Model, bias: false);
        TwinBackends.Pair gateUp = Twins.Weights(DType.BF16, experts * 2 * hidden, Model), down = Twins.Weights(DType.BF16, experts * Model, hidden);
        ExpertWeights Weights(LinearWeights router, Tensor gates, Tensor downs) => new()
        {
            Router = router,
            GateUp = gates,
            Down = downs,
            Experts = experts,
            TopK = topK,
            NormalizeTopK = normalize,
            Activation = Activation.Silu,
        };
        Twins.Tested.MixtureOfExperts(stream.Tested, new LinearInput(stream.Tested, tested), Weights(testedRouter, gateUp.Tested, down.Tested));
        Twins.Reference.MixtureOfExperts(stream.Reference, new LinearInput(stream.Reference, reference), Weights(referenceRouter, gateUp.Reference, down.Reference));
        Twins.AssertClose(stream, 4 * Tolerance, "experts");
    }

    [TestCase(1)]
    [TestCase(15)]
    public void AddGated_SharedExpert_MatchesReference(int rows)
    {
        TwinBackends.Pair hidden = Twins.Rows(rows, 37), input = Twins.Rows(rows, 37), expert = Twins.Rows(rows, 65);
        (NormWeights tested, NormWeights reference) = Twins.Norm(NormKind.Rms, 37, beta: false);
        (LinearWeights testedGate, LinearWeights referenceGate) = Twins.Linear(DType.F32, 1, 37, bias: false);
        (LinearWeights testedDown, LinearWeights referenceDown) = Twins.Linear(DType.BF16, 37, 65, bias: false);
        Twins.Tested.AddGated(hidden.Tested, new LinearInput(input.Tested, tested), testedGate, expert.Tested, testedDown);
        Twins.Reference.AddGated(hidden.Reference, new LinearInput(input.Reference, reference), referenceGate, expert.Reference, referenceDown);
        Twins.AssertClose(hidden, 4 * Tolerance, "gated");
    }

    [Test]
    public void SelectRows_OfMixedBatch_KeepsLogitRows()
    {
        RaggedBatch batch = new(new StepLimits(16, 4, 4, 8));
        batch.Clear();
        batch.AddSequence(0, [1, 2, 3], 0, [0]);
        batch.AddLogitRow();
        batch.AddSequence(2, [4, 5], 0, [1]);
        batch.AddSequence(3, [6], 0, [2]);
        batch.AddLogitRow();
        TwinBackends.Pair input = Twins.Rows(6, 19), output = Twins.Rows(2, 19);
        OnBoth(batch, (backend, isTested) => backend.SelectRows(isTested ? output.Tested : output.Reference, isTested ? input.Tested : input.Reference, batch));
        Twins.AssertClose(output, 0, "selected");
    }

    /// <summary>Runs one step with some operations on both backends.</summary>
    protected void OnBoth(RaggedBatch batch, Action<IBackend, bool> operations)
    {
        foreach (bool isTested in new[] { true, false })
        {
            IBackend backend = isTested ? Twins.Tested : Twins.Reference;
            backend.Prepare(Batches.Shape(), batch.Limits);
            backend.Submit(batch, (_, _) => operations(backend, isTested));
        }
    }

    private static IEnumerable<int> Lengths() => [.. Enumerable.Range(1, 66), 97, 129, 577];

    private void CheckLinear(DType type, int rows, int inputs, int outputs)
    {
        TwinBackends.Pair input = Twins.Rows(rows, inputs), output = Twins.Rows(rows, outputs);
        (LinearWeights tested, LinearWeights reference) = Twins.Linear(type, outputs, inputs, bias: false);
        Twins.Tested.Linear(output.Tested, new LinearInput(input.Tested), tested);
        Twins.Reference.Linear(output.Reference, new LinearInput(input.Reference), reference);
        Twins.AssertClose(output, Tolerance, $"{type}: {rows} rows, {inputs} inputs, {outputs} outputs");
    }
}
