using System.Diagnostics;
using System.Globalization;
using FastGen.Benchmarks.Cuda;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using Microsoft.Extensions.Logging.Abstractions;

namespace FastGen.Benchmarks;

/// <summary>
/// What a step of decodes and a prompt's chunk takes, against the two apart: `mixed [--shape llama|qwen|tiny] [--device cpu|cuda] [--decodes A,B,…]
/// [--context N] [--chunks A,B,…] [--from N] [--parts] [--no-sharing]`. A step of its own pays for reading the weights; a shared one pays once, so the
/// sum is what there is to gain. Chunks lie in mid-prompt and draw nothing. Host time is that of queueing the step while the device is idle. With
/// `--no-sharing` each mixed step is measured once more with the attention of its decodes after that of its chunk instead of beside it.
/// </summary>
internal sealed class MixedStepBenchmark
{
    private const int BlockSize = 16, WarmSteps = 3, Steps = 16, AloneSteps = 5;

    private readonly IBackend _backend;
    private readonly LlamaShapedModel _model;
    private readonly StepLimits _limits;
    private readonly Activations _buffers;
    private readonly KvCache _cache;
    private readonly int[][] _blocks;
    private readonly int[] _drawn;
    private readonly int _context, _chunkStart;

    private MixedStepBenchmark(IBackend backend, LlamaShape shape, int decodes, int context, int chunkStart, int largestChunk)
    {
        int positions = Math.Max(context, chunkStart + largestChunk) + BlockSize;
        int blocksEach = (positions + BlockSize - 1) / BlockSize;
        _backend = backend;
        (_context, _chunkStart) = (context, chunkStart);
        _model = new LlamaShapedModel(backend, shape, positions);
        _limits = new StepLimits(largestChunk + decodes, decodes + 1, BlockSize, blocksEach);
        backend.Prepare(_model.Shape, _limits);
        _cache = new KvCache(backend, _model.Shape, backend.PrecisionFor(DType.BF16).KvCache, blocksEach * _limits.Sequences, BlockSize);
        _buffers = new Activations(backend, _model.Shape, _limits);
        _drawn = new int[_limits.Sequences];
        int[] all = [.. Enumerable.Range(0, blocksEach * _limits.Sequences)];
        new Random(2).Shuffle(all);
        _blocks = [.. Enumerable.Range(0, _limits.Sequences).Select(slot => all[(slot * blocksEach)..((slot + 1) * blocksEach)])];
        for (int slot = 0; slot < _limits.Sequences; slot++) Fill(slot, slot < decodes ? context : Math.Max(1, chunkStart));
    }

    public static int Run(string[] args)
    {
        string Option(string name, string value) => Array.IndexOf(args, name) is >= 0 and int at && at + 1 < args.Length ? args[at + 1] : value;
        int[] Integers(string name, string value) => [.. Option(name, value).Split(',').Select(part => int.Parse(part, CultureInfo.InvariantCulture))];
        LlamaShape shape = Option("--shape", "llama") switch
        {
            "qwen" => LlamaShape.Qwen06B,
            "tiny" => new LlamaShape("tiny", 2, 256, 512, 8, 4, 32, 1000, NormedHeads: false, TiedHead: true),
            _ => LlamaShape.Llama8B,
        };
        int[] decodes = Integers("--decodes", "32,64"), chunks = Integers("--chunks", "128,256,512,768,1024,1536,2048");
        ComputeDevice device = Option("--device", "auto") switch { "cpu" => ComputeDevice.Cpu, "cuda" => ComputeDevice.Cuda(), _ => ComputeDevice.Auto };
        using IBackend backend = device.CreateBackend(threads: null, NullLogger.Instance);
        int context = Integers("--context", "2000")[0], from = Integers("--from", "1024")[0];
        MixedStepBenchmark benchmark = new(backend, shape, decodes.Max(), context, from, chunks.Max());
        Console.WriteLine($"{shape.Name} on {backend.Description}; decodes at context {context}, chunks from position {from} on");
        benchmark.Compare(decodes, chunks, args.Contains("--no-sharing") ? backend as CudaBackend : null);
        if (args.Contains("--parts")) benchmark.Parts(decodes[0], chunks.Contains(1024) ? 1024 : chunks[^1]);
        return 0;
    }

    private void Compare(int[] decodeCounts, int[] chunks, CudaBackend? unshared)
    {
        Dictionary<int, Measured> prompts = chunks.ToDictionary(chunk => chunk, chunk => Measure(0, chunk, Operations.All));
        Console.WriteLine($"{"decodes",7} {"chunk",6} {"step ms",8} {"tokens/s",9} {"chunk ms",8} {"decodes ms",10} {"step/sum",8} {"alone ms",8} {"queueing µs",11}{(unshared is null ? "" : $" {"unshared ms",11}")}");
        foreach ((int chunk, Measured prompt) in prompts) Print(0, chunk, prompt, prompt, new Measured(0, 0, 0));
        foreach (int decodes in decodeCounts)
        {
            Measured decode = Measure(decodes, 0, Operations.All);
            Print(decodes, 0, decode, new Measured(0, 0, 0), decode);
            foreach (int chunk in chunks)
            {
                Measured step = Measure(decodes, chunk, Operations.All);
                if (unshared is null)
                {
                    Print(decodes, chunk, step, prompts[chunk], decode);
                    continue;
                }
                unshared.SharesAttention = false;
                Measured apart = Measure(decodes, chunk, Operations.All);
                unshared.SharesAttention = null;
                Print(decodes, chunk, step, prompts[chunk], decode, apart);
            }
        }
    }

    private static void Print(int decodes, int chunk, Measured step, Measured prompt, Measured decode, Measured? unshared = null) => Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"{decodes,7} {chunk,6} {step.Seconds * 1e3,8:F2} {(decodes + chunk) / step.Seconds,9:F0} {prompt.Seconds * 1e3,8:F2} {decode.Seconds * 1e3,10:F2} {step.Seconds / (prompt.Seconds + decode.Seconds),8:P0} {step.AloneSeconds * 1e3,8:F2} {step.QueueingSeconds * 1e6,11:F0}{(unshared is { } apart ? $" {apart.Seconds * 1e3,11:F2}" : "")}"));

    // What each operation costs in the step: the time without it, taken from the whole.
    private void Parts(int decodes, int chunk)
    {
        Console.WriteLine($"\nparts, ms in the step: {decodes} decodes with a chunk of {chunk}, the chunk, the decodes");
        (int Decodes, int Chunk)[] kinds = [(decodes, chunk), (0, chunk), (decodes, 0)];
        double[] whole = [.. kinds.Select(kind => Measure(kind.Decodes, kind.Chunk, Operations.All).Seconds)];
        Console.WriteLine(Row("all", whole));
        foreach (Operations operation in Enum.GetValues<Operations>())
        {
            if (operation is Operations.None or Operations.Ends or Operations.All) continue;
            Console.WriteLine(Row(operation.ToString(), [.. kinds.Select((kind, i) => whole[i] - Measure(kind.Decodes, kind.Chunk, Operations.All & ~operation).Seconds)]));
        }
        _model.Operations = Operations.All;
    }

    private static string Row(string name, double[] seconds) => string.Create(CultureInfo.InvariantCulture, $"  {name,-10} {seconds[0] * 1e3,8:F2} {seconds[1] * 1e3,8:F2} {seconds[2] * 1e3,8:F2}");

    private Measured Measure(int decodes, int chunk, Operations operations)
    {
        _model.Operations = operations;
        RaggedBatch[] batches = [Batch(decodes, chunk), Batch(decodes, chunk)];
        // One delegate, the same at every step of this kind, so that a recorded step is found again.
        RaggedBatch? current = null;
        Action<int, int> forward = (rows, logitRows) => Forward(current!, rows, logitRows);
        long Submit(int turn) => _backend.Submit(current = batches[turn & 1], forward);
        double[] queueing = new double[AloneSteps], alone = new double[AloneSteps];
        for (int i = -WarmSteps; i < AloneSteps; i++)
        {
            long start = Stopwatch.GetTimestamp();
            long ticket = Submit(i);
            double queued = Stopwatch.GetElapsedTime(start).TotalSeconds;
            _backend.Collect(ticket, _drawn.AsSpan(0, decodes));
            if (i >= 0) (queueing[i], alone[i]) = (queued, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        long began = 0, previous = Submit(0);
        for (int i = 1; i <= Steps; i++)
        {
            long next = Submit(i);
            _backend.Collect(previous, _drawn.AsSpan(0, decodes));
            if (i == 1) began = Stopwatch.GetTimestamp();
            previous = next;
        }
        _backend.Collect(previous, _drawn.AsSpan(0, decodes));
        Array.Sort(queueing);
        Array.Sort(alone);
        return new Measured(Stopwatch.GetElapsedTime(began).TotalSeconds / Steps, alone[AloneSteps / 2], queueing[AloneSteps / 2]);
    }

    private RaggedBatch Batch(int decodes, int chunk)
    {
        RaggedBatch batch = new(_limits);
        batch.Clear();
        for (int slot = 0; slot < decodes; slot++)
        {
            batch.AddSequence(slot, Tokens(1), _context - 1, _blocks[slot]);
            batch.AddLogitRow();
        }
        if (chunk > 0) batch.AddSequence(_limits.Sequences - 1, Tokens(chunk), _chunkStart, _blocks[^1]);
        return batch;
    }

    private void Fill(int slot, int length)
    {
        RaggedBatch batch = new(_limits);
        for (int i = 0; i < length;)
        {
            int count = Math.Min(length - i, _limits.Tokens / BlockSize * BlockSize);
            batch.Clear();
            if (i == 0) batch.SetSampling(slot, SamplingParameters.Greedy.ForSlot(0, length));
            for (int block = i / BlockSize; block < (i + count + BlockSize - 1) / BlockSize; block++) batch.SetBlock(slot, block, _blocks[slot][block]);
            batch.AddSequence(slot, Tokens(count), i, _blocks[slot]);
            i += count;
            if (i == length) batch.AddLogitRow();
            _backend.Collect(_backend.Submit(batch, (rows, logitRows) => Forward(batch, rows, logitRows)), _drawn.AsSpan(0, batch.LogitRowCount));
        }
        // The chunk's blocks, which are filled as it is measured.
        batch.Clear();
        int first = (length + BlockSize - 1) / BlockSize;
        for (int block = first; block < _limits.BlocksPerSequence && slot == _limits.Sequences - 1; block++) batch.SetBlock(slot, block, _blocks[slot][block]);
        batch.AddSequence(slot, Tokens(1), length - 1, _blocks[slot]);
        batch.AddLogitRow();
        _backend.Collect(_backend.Submit(batch, (rows, logitRows) => Forward(batch, rows, logitRows)), _drawn.AsSpan(0, 1));
    }

    private int[] Tokens(int count) => [.. Enumerable.Range(0, count).Select(i => ((i * 7919) + 11) % _model.Shape.VocabularySize)];

    private void Forward(RaggedBatch batch, int rows, int logitRows)
    {
        _buffers.Resize(rows, logitRows);
        _model.Forward(new ForwardPass(_backend, batch, _cache, _buffers));
        if (logitRows > 0 && _model.Operations.HasFlag(Operations.Sample)) _backend.Sample(_buffers.Logits, batch);
    }

    /// <summary>Seconds of a step with one in flight, of one alone, and of queueing it.</summary>
    private readonly record struct Measured(double Seconds, double AloneSeconds, double QueueingSeconds);
}
