using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastGen.Kernels.Cuda.Libraries;

namespace FastGen.Kernels.Cuda.Interop;

/// <summary>The driver API's functions that we call. Each returns 0 or an error; <see cref="Check"/> turns the latter into an exception.</summary>
internal static unsafe partial class CudaDriver
{
    public const int OutOfMemory = 2;

    private const string Library = CudaLibrary.DriverImport;

    [LibraryImport(Library)] public static partial int cuInit(uint flags);
    [LibraryImport(Library)] public static partial int cuDriverGetVersion(int* version);
    [LibraryImport(Library)] public static partial int cuDeviceGetCount(int* count);
    [LibraryImport(Library)] public static partial int cuDeviceGet(int* device, int ordinal);
    [LibraryImport(Library)] public static partial int cuDeviceGetName(byte* name, int length, int device);
    [LibraryImport(Library)] public static partial int cuDeviceGetAttribute(int* value, DeviceAttribute attribute, int device);
    [LibraryImport(Library)] public static partial int cuDeviceTotalMem_v2(nuint* bytes, int device);
    [LibraryImport(Library)] public static partial int cuDevicePrimaryCtxRetain(nint* context, int device);
    [LibraryImport(Library)] public static partial int cuDevicePrimaryCtxRelease_v2(int device);
    [LibraryImport(Library)] public static partial int cuCtxSetCurrent(nint context);
    [LibraryImport(Library)] public static partial int cuMemAlloc_v2(nint* address, nuint bytes);
    [LibraryImport(Library)] public static partial int cuMemFree_v2(nint address);
    [LibraryImport(Library)] public static partial int cuMemGetInfo_v2(nuint* free, nuint* total);
    [LibraryImport(Library)] public static partial int cuMemHostAlloc(nint* address, nuint bytes, uint flags);
    [LibraryImport(Library)] public static partial int cuMemFreeHost(nint address);
    [LibraryImport(Library)] public static partial int cuMemcpyHtoDAsync_v2(nint target, nint source, nuint bytes, nint stream);
    [LibraryImport(Library)] public static partial int cuMemcpyDtoHAsync_v2(nint target, nint source, nuint bytes, nint stream);
    [LibraryImport(Library)] public static partial int cuMemcpyDtoDAsync_v2(nint target, nint source, nuint bytes, nint stream);
    [LibraryImport(Library)] public static partial int cuMemsetD8Async(nint target, byte value, nuint bytes, nint stream);
    [LibraryImport(Library)] public static partial int cuStreamCreate(nint* stream, uint flags);
    [LibraryImport(Library)] public static partial int cuStreamDestroy_v2(nint stream);
    [LibraryImport(Library)] public static partial int cuStreamSynchronize(nint stream);
    [LibraryImport(Library)] public static partial int cuStreamQuery(nint stream);
    [LibraryImport(Library)] public static partial int cuStreamWaitEvent(nint stream, nint handle, uint flags);
    [LibraryImport(Library)] public static partial int cuEventCreate(nint* handle, uint flags);
    [LibraryImport(Library)] public static partial int cuEventDestroy_v2(nint handle);
    [LibraryImport(Library)] public static partial int cuEventRecord(nint handle, nint stream);
    [LibraryImport(Library)] public static partial int cuEventSynchronize(nint handle);
    [LibraryImport(Library)] public static partial int cuEventElapsedTime(float* milliseconds, nint start, nint end);
    [LibraryImport(Library)] public static partial int cuModuleLoadData(nint* module, void* image);
    [LibraryImport(Library)] public static partial int cuModuleUnload(nint module);
    [LibraryImport(Library)] public static partial int cuModuleGetFunction(nint* function, nint module, byte* name);
    [LibraryImport(Library)] public static partial int cuFuncSetAttribute(nint function, int attribute, int value);
    [LibraryImport(Library)] public static partial int cuFuncGetAttribute(int* value, int attribute, nint function);
    [LibraryImport(Library)] public static partial int cuLaunchKernelEx(LaunchConfiguration* configuration, nint function, void** parameters, void** extra);
    [LibraryImport(Library)] public static partial int cuStreamBeginCapture_v2(nint stream, int mode);
    [LibraryImport(Library)] public static partial int cuStreamEndCapture(nint stream, nint* graph);
    [LibraryImport(Library)] public static partial int cuGraphInstantiateWithFlags(nint* executable, nint graph, ulong flags);
    [LibraryImport(Library)] public static partial int cuGraphLaunch(nint executable, nint stream);
    [LibraryImport(Library)] public static partial int cuGraphExecDestroy(nint executable);
    [LibraryImport(Library)] public static partial int cuGraphDestroy(nint graph);
    [LibraryImport(Library)] public static partial int cuTensorMapEncodeTiled(TensorMap* map, int type, uint rank, nint address, ulong* sizes, ulong* strides, uint* box, uint* elementStrides, int interleave, int swizzle, int promotion, int fill);
    [LibraryImport(Library)] private static partial int cuGetErrorName(int code, byte** name);
    [LibraryImport(Library)] private static partial int cuGetErrorString(int code, byte** text);

    /// <summary>Throws unless <paramref name="code"/> is 0.</summary>
    public static void Check(int code, [CallerArgumentExpression(nameof(code))] string expression = "")
    {
        if (code != 0) throw new CudaException(CallName(expression), code, Describe(code));
    }

    /// <summary>The driver's name for an error and its explanation.</summary>
    public static string Describe(int code)
    {
        byte* name = null, text = null;
        _ = cuGetErrorName(code, &name);
        _ = cuGetErrorString(code, &text);
        return $"{Marshal.PtrToStringUTF8((nint)name) ?? "unknown"} ({Marshal.PtrToStringUTF8((nint)text) ?? "no description"})";
    }

    /// <summary>The function's name out of the text of a call, without folder of types and version suffix.</summary>
    public static string CallName(string expression)
    {
        int parenthesis = expression.IndexOf('(', StringComparison.Ordinal);
        string name = parenthesis < 0 ? expression : expression[..parenthesis];
        name = name[(name.LastIndexOf('.') + 1)..];
        int version = name.LastIndexOf("_v", StringComparison.Ordinal);
        return version > 0 ? name[..version] : name;
    }
}

/// <summary>Attributes of a device (CUdevice_attribute).</summary>
internal enum DeviceAttribute
{
    MultiprocessorCount = 16,
    ComputeCapabilityMajor = 75,
    ComputeCapabilityMinor = 76,
    MaxSharedMemoryPerBlockOptin = 97,
}

/// <summary>CUtensorMap: 128 bytes that the driver fills.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct TensorMap
{
    public const int Swizzle128 = 3;

    /// <summary>Bytes that the second-level cache fetches at a time for boxes of 128 bytes a row: the neighbor with each, or each when it is asked for.</summary>
    public const int Promotion256 = 3, Promotion128 = 2;

    private fixed ulong _opaque[16];

    /// <summary>The driver's number for a 16-bit type.</summary>
    public static int TypeOf(FastGen.Compute.DType type) => type == FastGen.Compute.DType.F16 ? 6 : 9;
}

/// <summary>CUlaunchConfig.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct LaunchConfiguration
{
    public uint GridX, GridY, GridZ, BlockX, BlockY, BlockZ, SharedBytes;
    public nint Stream;
    public LaunchAttribute* Attributes;
    public uint AttributeCount;
}

/// <summary>CUlaunchAttribute: an id and 64 bytes of value.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal struct LaunchAttribute
{
    public const int ClusterDimension = 4;
    public const int ProgrammaticStreamSerialization = 6;

    [FieldOffset(0)] public int Id;
    [FieldOffset(8)] public uint X;
    [FieldOffset(12)] public uint Y;
    [FieldOffset(16)] public uint Z;
}
