using FastGen.Compute;
using FastGen.Kernels.Cpu;

namespace FastGen.Tests.Kernels;

/// <summary>Backends of a forced vector width; the running test is skipped where the processor lacks it.</summary>
public static class CpuBackends
{
    public static IBackend Create(int bits, int threads)
    {
        VectorWidth width = bits switch
        {
            512 => VectorWidth.Bits512,
            256 => VectorWidth.Bits256,
            _ => VectorWidth.Bits128,
        };
        if (!CpuBackend.Supports(width)) Assert.Ignore($"This processor has no vectors of {bits} bits.");
        return CpuBackend.Create(threads, width);
    }
}
