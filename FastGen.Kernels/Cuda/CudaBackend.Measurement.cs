using System.Runtime.InteropServices;
using FastGen.Kernels.Cuda.Interop;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda;

// What benchmarks ask for beyond the waist.
public sealed unsafe partial class CudaBackend
{
    private StepTimeline? _timeline;

    /// <summary>The kernels loaded so far with the registers and local bytes of a thread.</summary>
    internal IEnumerable<(string Kernel, int Registers, int LocalBytes)> KernelResources => _kernels.Resources();

    /// <summary>Bytes that this backend holds on the device.</summary>
    internal long AllocatedBytes => _device.AllocatedBytes;

    /// <summary>Bytes that are free on the device, whoever took the others.</summary>
    internal long FreeBytes
    {
        get
        {
            _device.MakeCurrent();
            return _device.Room().Free;
        }
    }

    /// <summary><see cref="CudaOptions.SharesAttention"/>, for measurements that compare.</summary>
    internal bool? SharesAttention { get; set; }

    /// <summary>Waits for all queued work and drops all recorded steps, where these name memory that moves or is given back, and for measurements that change what a step does.</summary>
    internal void ForgetRecordings()
    {
        _device.Synchronize();
        _graphs.Clear();
    }

    /// <summary>Keeps the times of all steps until <see cref="EndTimeline"/>.</summary>
    internal void BeginTimeline()
    {
        _device.MakeCurrent();
        _timeline = new StepTimeline(_device);
    }

    /// <summary>The times of the steps since <see cref="BeginTimeline"/>.</summary>
    internal IReadOnlyList<StepTimes> EndTimeline()
    {
        using StepTimeline timeline = _timeline ?? throw new InvalidOperationException($"{nameof(BeginTimeline)} comes first.");
        _timeline = null;
        return timeline.Read();
    }

    /// <summary>Microseconds of what <paramref name="queue"/> queues, recorded as one graph: the median of <paramref name="runs"/> replays.</summary>
    internal double TimeRecorded(Action queue, int runs)
    {
        _device.MakeCurrent();
        queue();
        _device.Synchronize();
        nint graph = StepGraphs.Record(_device, queue), start = 0, end = 0;
        try
        {
            (start, end) = (_device.CreateEvent(timing: true), _device.CreateEvent(timing: true));
            double[] times = new double[runs];
            for (int i = -1; i < runs; i++)
            {
                float milliseconds = 0;
                CudaDriver.Check(CudaDriver.cuEventRecord(start, _device.Stream));
                CudaDriver.Check(CudaDriver.cuGraphLaunch(graph, _device.Stream));
                CudaDriver.Check(CudaDriver.cuEventRecord(end, _device.Stream));
                CudaDriver.Check(CudaDriver.cuEventSynchronize(end));
                CudaDriver.Check(CudaDriver.cuEventElapsedTime(&milliseconds, start, end));
                if (i >= 0) times[i] = milliseconds * 1e3;
            }
            Array.Sort(times);
            return times[runs / 2];
        }
        finally
        {
            _ = CudaDriver.cuGraphExecDestroy(graph);
            _device.DestroyEvent(start);
            _device.DestroyEvent(end);
        }
    }

    /// <summary>Bytes a second that a kernel reads which does nothing else, over <paramref name="bytes"/> of device memory.</summary>
    internal double MeasureReadRate(long bytes)
    {
        const int Threads = 512, Loads = 4;
        _device.MakeCurrent();
        int grid = Loads * _device.Multiprocessors;
        long sweep = (long)Loads * Threads * grid, count = bytes / 16 / sweep * sweep;
        ReadArguments arguments = new() { Data = _device.Allocate(count * 16, MemoryUse.Scratch), Count = count, Result = _device.Allocate(sizeof(uint), MemoryUse.Scratch) };
        _kernels.Get("read", "fill", default).Launch(arguments, (grid, 1, 1), Threads);
        return count * 16 / (TimeRecorded(() => _kernels.Get("read", "read", default).Launch(arguments, (grid, 1, 1), Threads), runs: 15) * 1e-6);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ReadArguments
    {
        public nint Data;
        public long Count;
        public nint Result;
    }
}
