using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Steps;

/// <summary>What a recorded step depends on: its operations, its rows (each with logits), the shape of its attention, and the log probabilities it gives.</summary>
internal readonly record struct StepKey(Action<int, int> Forward, int Rows, SplitShape Attention, LogProbabilityNeed LogProbabilities);

/// <summary>
/// Decode steps recorded as CUDA graphs. The first step of a shape runs as it is queued, which also compiles its kernels and chooses its
/// algorithms; the second is recorded; all others are replayed.
/// </summary>
internal sealed unsafe class StepGraphs(CudaDevice device) : IDisposable
{
    private const int RelaxedCapture = 2;
    private const int MostKept = 512;
    private const int SmallestStep = 8;

    private readonly Dictionary<StepKey, nint> _graphs = [];

    /// <summary>Rows that a decode step of <paramref name="sequences"/> is padded to: 1, 2, 4, multiples of 8, from 128 on of 16.</summary>
    public static int Bucket(int sequences, int largest)
    {
        int rows = sequences <= 2 ? sequences : sequences <= 4 ? 4 : sequences <= 128 ? (sequences + SmallestStep - 1) / SmallestStep * SmallestStep : (sequences + 15) / 16 * 16;
        return Math.Min(rows, largest);
    }

    /// <summary>Runs a step of <paramref name="backend"/>.</summary>
    public void Run(StepKey key, CudaBackend backend)
    {
        if (!_graphs.TryGetValue(key, out nint graph))
        {
            if (_graphs.Count == MostKept)
            {
                // A caller that makes a new delegate for each step would otherwise fill the memory.
                device.Synchronize();
                Clear();
            }
            backend.Queue(key.Forward, key.Rows, key.Rows);
            _graphs[key] = 0;
            return;
        }
        try
        {
            if (graph == 0) _graphs[key] = graph = Record(device, () => backend.Queue(key.Forward, key.Rows, key.Rows));
            device.CountLaunch();
            CudaDriver.Check(CudaDriver.cuGraphLaunch(graph, device.Stream));
        }
        catch (CudaException exception) when (exception.LacksMemory)
        {
            // The memory left beside the cache holds no more recordings: others may come in the place of these.
            device.Synchronize();
            Clear();
            backend.Queue(key.Forward, key.Rows, key.Rows);
        }
    }

    /// <summary>Forgets all recordings.</summary>
    public void Clear()
    {
        foreach (nint graph in _graphs.Values)
        {
            if (graph != 0) _ = CudaDriver.cuGraphExecDestroy(graph);
        }
        _graphs.Clear();
    }

    public void Dispose() => Clear();

    /// <summary>What <paramref name="queue"/> queues, as a graph to launch.</summary>
    public static nint Record(CudaDevice device, Action queue)
    {
        nint graph = 0, executable = 0;
        CudaDriver.Check(CudaDriver.cuStreamBeginCapture_v2(device.Stream, RelaxedCapture));
        try
        {
            queue();
        }
        catch
        {
            _ = CudaDriver.cuStreamEndCapture(device.Stream, &graph);
            if (graph != 0) _ = CudaDriver.cuGraphDestroy(graph);
            throw;
        }
        CudaDriver.Check(CudaDriver.cuStreamEndCapture(device.Stream, &graph));
        try
        {
            CudaDriver.Check(CudaDriver.cuGraphInstantiateWithFlags(&executable, graph, 0));
        }
        finally
        {
            _ = CudaDriver.cuGraphDestroy(graph);
        }
        return executable;
    }
}
