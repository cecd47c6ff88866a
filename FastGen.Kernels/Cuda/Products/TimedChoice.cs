using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>The fastest of several ways to do the same, timed on the device once for each key.</summary>
internal sealed unsafe class TimedChoice<TKey>(CudaDevice device)
    where TKey : struct
{
    private const int Runs = 3;

    private readonly Dictionary<TKey, int> _chosen = [];

    /// <summary>What was chosen for <paramref name="key"/>, if it was.</summary>
    public bool TryGet(TKey key, out int chosen) => _chosen.TryGetValue(key, out chosen);

    /// <summary>Index of the fastest candidate; those that return false do not take part. What they write has to be of no use.</summary>
    public int Fastest(TKey key, int candidates, Func<int, bool> run)
    {
        if (TryGet(key, out int chosen)) return chosen;
        nint start = CudaDevice.CreateEvent(timing: true), end = CudaDevice.CreateEvent(timing: true);
        float best = float.PositiveInfinity;
        for (int candidate = 0; candidate < candidates; candidate++)
        {
            if (!run(candidate)) continue;
            CudaDriver.Check(CudaDriver.cuEventRecord(start, device.Stream));
            for (int i = 0; i < Runs; i++) _ = run(candidate);
            CudaDriver.Check(CudaDriver.cuEventRecord(end, device.Stream));
            CudaDriver.Check(CudaDriver.cuEventSynchronize(end));
            float milliseconds = 0;
            CudaDriver.Check(CudaDriver.cuEventElapsedTime(&milliseconds, start, end));
            if (milliseconds < best) (best, chosen) = (milliseconds, candidate);
        }
        _ = CudaDriver.cuEventDestroy_v2(start);
        _ = CudaDriver.cuEventDestroy_v2(end);
        return _chosen[key] = chosen;
    }
}
