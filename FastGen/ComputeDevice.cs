using FastGen.Compute;
using FastGen.Kernels.Cpu;
using FastGen.Kernels.Cuda;
using Microsoft.Extensions.Logging;

namespace FastGen;

/// <summary>Where a pipeline computes.</summary>
public readonly record struct ComputeDevice
{
    private enum DeviceKind : byte
    {
        Auto,
        Cpu,
        Cuda,
    }

    private readonly DeviceKind _kind;

    private ComputeDevice(DeviceKind kind, int index = 0) => (_kind, Index) = (kind, index);

    /// <summary>The first CUDA device that the kernels run on, else the CPU; the log says which and why. The default.</summary>
    public static ComputeDevice Auto => new(DeviceKind.Auto);

    /// <summary>This machine's processors.</summary>
    public static ComputeDevice Cpu => new(DeviceKind.Cpu);

    /// <summary>Number of the CUDA device.</summary>
    public int Index { get; }

    /// <summary>The CUDA device of that number; loading fails with the whole probe (<see cref="CudaBackend.Probe"/>) where it cannot be used.</summary>
    public static ComputeDevice Cuda(int index = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        return new ComputeDevice(DeviceKind.Cuda, index);
    }

    /// <summary>The device in words.</summary>
    public override string ToString() => _kind == DeviceKind.Cuda ? $"Cuda({Index})" : _kind.ToString();

    internal IBackend CreateBackend(int? threads, ILogger logger, bool deterministic = false) => _kind switch
    {
        DeviceKind.Cpu => CpuBackend.Create(threads),
        DeviceKind.Cuda => new CudaBackend(Index, CudaOptionsOf(deterministic)),
        _ => Choose(threads, deterministic, logger),
    };

    private static IBackend Choose(int? threads, bool deterministic, ILogger logger)
    {
        CudaProbe probe = CudaBackend.Probe();
        if (!probe.IsUsable)
        {
            logger.TookCpu(probe.Failure!);
            return CpuBackend.Create(threads);
        }
        CudaDeviceInfo device = probe.Devices.First(device => device.IsSupported);
        logger.TookCuda(device.Index, device.Name);
        return new CudaBackend(device.Index, CudaOptionsOf(deterministic));
    }

    // The CPU needs nothing for it.
    private static CudaOptions CudaOptionsOf(bool deterministic) => new() { Deterministic = deterministic };
}

internal static partial class ComputeDeviceLog
{
    [LoggerMessage(Level = LogLevel.Information, Message = "Took the CPU, since CUDA cannot be used: {Reason}")]
    public static partial void TookCpu(this ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Took CUDA device {Index}, {Name}.")]
    public static partial void TookCuda(this ILogger logger, int index, string name);
}
