using System.Runtime.InteropServices;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Products;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda;

public sealed unsafe partial class CudaBackend
{
    private const int RowThreads = 256;

    /// <inheritdoc/>
    public void Embed(Tensor output, Tensor table, RaggedBatch batch) => Look("embed", output, table, 0, batch);

    /// <inheritdoc/>
    public void AddPositions(Tensor output, Tensor table, int offset, RaggedBatch batch) => Look("add_positions", output, table, offset, batch);

    /// <inheritdoc/>
    public void Norm(Tensor output, Tensor input, NormWeights weights)
    {
        Enter();
        _products.Norm(output, input, weights);
    }

    /// <inheritdoc/>
    public void Linear(Tensor output, in LinearInput input, LinearWeights weights, Activation activation = Activation.None, bool accumulate = false)
    {
        Enter();
        _products.Linear(output, input, weights, activation, accumulate);
    }

    /// <inheritdoc/>
    public void LinearSum(Tensor output, Tensor first, LinearWeights firstWeights, Tensor second, LinearWeights secondWeights)
    {
        Enter();
        if (_products.TryJoined(output, first, firstWeights, new SecondProduct(SecondKind.Joined, second, secondWeights))) return;
        _products.Linear(output, new LinearInput(first), firstWeights, Activation.None, accumulate: true);
        _products.Linear(output, new LinearInput(second), secondWeights, Activation.None, accumulate: true);
    }

    /// <inheritdoc/>
    public void GatedLinear(Tensor output, in LinearInput input, LinearWeights gateUp, Activation activation)
    {
        Enter();
        _products.Gated(output, input, gateUp, activation);
    }

    /// <inheritdoc/>
    public void MixtureOfExperts(Tensor output, in LinearInput input, ExpertWeights weights)
    {
        Enter();
        // A recorded step has rows for every sequence of its bucket.
        _experts.Run(output, input, weights, rowCount: _replayable && _current is not null ? Steps.TokenCount : 0);
    }

    /// <inheritdoc/>
    public void AddGated(Tensor output, in LinearInput input, LinearWeights gate, Tensor rows, LinearWeights down)
    {
        Enter();
        Tensor shares = _scratch.Matrix(ScratchUse.Gate, DType.F32, output.Rows, 1), product = _scratch.Matrix(ScratchUse.ExpertResults, DType.F32, output.Rows, output.Columns);
        _products.Linear(shares, input, gate, Activation.None, accumulate: false);
        _products.Linear(product, new LinearInput(rows), down, Activation.None, accumulate: false);
        AddGatedArguments arguments = new() { Gate = shares.Data, Product = product.Data, Output = output.Data, Columns = output.Columns };
        _kernels.Get("rows", "add_gated", new KernelConstants { Out = output.Type }).Launch(arguments, (output.Rows, 1, 1), RowThreads);
    }

    /// <inheritdoc/>
    public void SelectRows(Tensor output, Tensor input, RaggedBatch batch)
    {
        SelectArguments arguments = new() { Batch = View(batch), Input = input.Data, Output = output.Data, Columns = output.Columns };
        _kernels.Get("rows", "select_rows", new KernelConstants { In = input.Type, Out = output.Type }).Launch(arguments, (output.Rows, 1, 1), RowThreads);
    }

    /// <inheritdoc/>
    public void Sample(Tensor logits, RaggedBatch batch)
    {
        if (logits.Type != DType.F32) throw new ArgumentException($"Logits are F32, not {logits.Type}.", nameof(logits));
        // Enough slices of a row to keep the device busy, at most the lanes of a warp.
        int slices = Math.Clamp(2 * _device.Multiprocessors / logits.Rows, 1, 32);
        SampleArguments arguments = new()
        {
            Batch = View(batch),
            Logits = logits.Data,
            Sampling = Steps.Sampling,
            Counts = Steps.CountsHolder,
            LastDrawn = Steps.LastDrawn,
            Results = Steps.Results,
            Best = _scratch.Get(ScratchUse.SampleKeys, (long)logits.Rows * slices * sizeof(ulong)),
            Vocabulary = logits.Columns,
            ResultStride = Steps.Limits.Sequences,
            SuppressedTokens = Steps.SuppressedOffset,
            Slices = slices,
        };
        LogProbabilityNeed need = Steps.LogProbabilityNeed;
        LogProbabilityArguments logProbabilities = need == LogProbabilityNeed.None ? default : LogProbabilitiesOf(logits, need, arguments.Batch);
        if (need != LogProbabilityNeed.None) _kernels.Get("log_probabilities", "weigh", default).Launch(logProbabilities, (logits.Rows, 1, 1), threads: 1024);
        _kernels.Get("sample", "find_best", default).Launch(arguments, (slices, logits.Rows, 1), threads: 256);
        _kernels.Get("sample", "sample", default).Launch(arguments, (logits.Rows, 1, 1), threads: 1024);
        if (need != LogProbabilityNeed.None) _kernels.Get("log_probabilities", "finish", default).Launch(logProbabilities, ((logits.Rows + 31) / 32, 1, 1), threads: 32);
    }

    private LogProbabilityArguments LogProbabilitiesOf(Tensor logits, LogProbabilityNeed need, BatchView batch) => new()
    {
        Batch = batch,
        Logits = logits.Data,
        // For the most rows at once: outgrown buffers would stay.
        Kept = need == LogProbabilityNeed.OfChangedLogits ? _scratch.Get(ScratchUse.KeptLogits, (long)Steps.Limits.Sequences * logits.Columns * sizeof(float)) : 0,
        Normalizers = _scratch.Get(ScratchUse.LogNormalizers, logits.Rows * sizeof(float)),
        Sampling = Steps.Sampling,
        LastDrawn = Steps.LastDrawn,
        Results = Steps.LogProbabilities,
        Vocabulary = logits.Columns,
        Sequences = Steps.Limits.Sequences,
        PerRow = RaggedBatch.LogProbabilitiesPerRow,
    };

    private void Look(string kernel, Tensor output, Tensor table, int offset, RaggedBatch batch)
    {
        EmbedArguments arguments = new() { Batch = View(batch), LastDrawn = Steps.LastDrawn, Table = table.Data, Output = output.Data, Columns = table.Columns, TableRows = table.Rows, Offset = offset };
        _kernels.Get("rows", kernel, new KernelConstants { Weight = table.Type, Out = output.Type }).Launch(arguments, (output.Rows, 1, 1), table.Columns >= 4096 ? 512 : RowThreads);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct EmbedArguments
    {
        public BatchView Batch;
        public nint LastDrawn, Table, Output;
        public int Columns, TableRows, Offset;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct SelectArguments
    {
        public BatchView Batch;
        public nint Input, Output;
        public int Columns;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct AddGatedArguments
    {
        public nint Gate, Product, Output;
        public int Columns;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct SampleArguments
    {
        public BatchView Batch;
        public nint Logits, Sampling, Counts, LastDrawn, Results, Best;
        public int Vocabulary, ResultStride, SuppressedTokens, Slices;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct LogProbabilityArguments
    {
        public BatchView Batch;
        public nint Logits, Kept, Normalizers, Sampling, LastDrawn, Results;
        public int Vocabulary, Sequences, PerRow;
    }
}
