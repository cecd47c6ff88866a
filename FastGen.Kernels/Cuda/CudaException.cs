namespace FastGen.Kernels.Cuda;

/// <summary>A call to the driver, the run-time compiler or cuBLASLt failed, or CUDA cannot be used here.</summary>
public class CudaException : Exception
{
    /// <summary>Says what failed.</summary>
    public CudaException(string message)
        : base(message)
    {
    }

    /// <summary>Says what failed, and why.</summary>
    public CudaException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    /// <summary>No explanation; prefer the others.</summary>
    public CudaException()
    {
    }

    internal CudaException(string call, int code, string description)
        : base($"{call} failed with {code}: {description}")
    {
        Call = call;
        Code = code;
    }

    /// <summary>The failing function, such as cuMemAlloc; null where no call was made.</summary>
    public string? Call { get; }

    /// <summary>What it returned.</summary>
    public int Code { get; }

    /// <summary>
    /// True for errors after which every further call in the process fails: the driver shut down (4), an uncorrectable memory error (214), an error of the hardware
    /// that was contained (226), a kernel that faulted or ran into its time limit (700, 702, 709, 710, 714 to 719) or left tensor memory behind (721), the server
    /// of a shared device ended this client (810), and what the driver cannot name (999).
    /// </summary>
    internal bool LosesDevice => IsOfDriver && Loses(Code);

    /// <summary>True where the driver found no memory for what it had to make.</summary>
    internal bool LacksMemory => IsOfDriver && Code == Interop.CudaDriver.OutOfMemory;

    // The other libraries count their errors anew.
    private bool IsOfDriver => Call is { } call && call.StartsWith("cu", StringComparison.Ordinal) && !call.StartsWith("cublas", StringComparison.Ordinal);

    /// <summary>See <see cref="LosesDevice"/>.</summary>
    internal static bool Loses(int code) => code is 4 or 214 or 226 or 700 or 702 or 709 or 710 or (>= 714 and <= 719) or 721 or 810 or 999;
}

/// <summary>The device has no room for an allocation.</summary>
public sealed class CudaOutOfMemoryException : CudaException
{
    /// <summary>Says what was asked for and what was there.</summary>
    public CudaOutOfMemoryException(string message)
        : base(message)
    {
    }

    /// <summary>Says what was asked for and what was there, and the cause.</summary>
    public CudaOutOfMemoryException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    /// <summary>No explanation; prefer the others.</summary>
    public CudaOutOfMemoryException()
    {
    }
}
