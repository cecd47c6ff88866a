using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>
/// Makes backends that compute on this machine's processors, in F32 on weights as they are stored. A row's results are the same bits whatever
/// else its batch holds, however its prompt is cut and however many threads work; they may differ from one instruction set to another.
/// </summary>
public static class CpuBackend
{
    // Where a system refuses one more thread, the runtime ends the process.
    private static readonly int MostThreads = Math.Max(256, 2 * Environment.ProcessorCount);

    /// <summary>Makes a backend for the widest vectors that the processor runs well.</summary>
    /// <param name="threads">Threads that compute, the caller's included; null for one on each physical core (each logical processor where the system does not tell cores apart).</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="threads"/> is less than 1, or many times what the machine has.</exception>
    public static IBackend Create(int? threads = null) => Create(threads, Widest());

    internal static IBackend Create(int? threads, VectorWidth width)
    {
        int count = threads ?? ProcessorTopology.PhysicalCores();
        if (count < 1) throw new ArgumentOutOfRangeException(nameof(threads), count, "At least one thread has to compute; leave it null for one on each physical core.");
        if (count > MostThreads) throw new ArgumentOutOfRangeException(nameof(threads), count, $"At most {MostThreads} threads can compute; leave it null for one on each physical core.");
        return width switch
        {
            VectorWidth.Bits512 => new SimdBackend<Simd512, Vector512<float>>("AVX-512", count),
            VectorWidth.Bits256 => new SimdBackend<Simd256, Vector256<float>>("AVX2", count),
            _ => new SimdBackend<Simd128, Vector128<float>>("128-bit vectors", count),
        };
    }

    /// <summary>Whether this processor has the instructions of <paramref name="width"/>.</summary>
    internal static bool Supports(VectorWidth width) => width switch
    {
        VectorWidth.Bits512 => Avx512F.IsSupported,
        VectorWidth.Bits256 => Avx2.IsSupported && Fma.IsSupported,
        _ => true,
    };

    private static VectorWidth Widest()
    {
        // Not accelerated where the processor slows down for them.
        if (Vector512.IsHardwareAccelerated && Supports(VectorWidth.Bits512)) return VectorWidth.Bits512;
        return Supports(VectorWidth.Bits256) ? VectorWidth.Bits256 : VectorWidth.Bits128;
    }
}

/// <summary>The vector width that kernels run in.</summary>
internal enum VectorWidth
{
    /// <summary>Every processor: Arm64, and x64 without AVX2.</summary>
    Bits128,

    /// <summary>AVX2 and FMA.</summary>
    Bits256,

    /// <summary>AVX-512.</summary>
    Bits512,
}
