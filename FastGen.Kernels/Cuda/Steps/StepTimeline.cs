using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Steps;

/// <summary>When the device began, staged and ended each step, by events on its stream: shows whether it ever waits for the host.</summary>
internal sealed unsafe class StepTimeline(CudaDevice device) : IDisposable
{
    private const int MarksAStep = 3;

    private readonly List<nint> _events = [];

    /// <summary>Marks what comes next on the stream: before a step, after its metadata, after its work.</summary>
    public void Mark()
    {
        nint mark = device.CreateEvent(timing: true);
        _events.Add(mark);
        CudaDriver.Check(CudaDriver.cuEventRecord(mark, device.Stream));
    }

    /// <summary>Waits for all steps; microseconds since the first began.</summary>
    public IReadOnlyList<StepTimes> Read()
    {
        device.Synchronize();
        List<StepTimes> steps = [];
        for (int i = 0; i + MarksAStep <= _events.Count; i += MarksAStep) steps.Add(new StepTimes(At(i), At(i + 1), At(i + 2)));
        return steps;
    }

    public void Dispose()
    {
        foreach (nint mark in _events) device.DestroyEvent(mark);
        _events.Clear();
    }

    private double At(int index)
    {
        float milliseconds = 0;
        if (index > 0) CudaDriver.Check(CudaDriver.cuEventElapsedTime(&milliseconds, _events[0], _events[index]));
        return milliseconds * 1e3;
    }
}

/// <summary>When a step began, had its metadata, and ended, in microseconds.</summary>
internal readonly record struct StepTimes(double Begin, double Staged, double End);
