using System.Runtime.InteropServices;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda;

/// <summary>One device: its context, the stream that all work is queued on, and all memory taken on it or pinned for it.</summary>
internal sealed unsafe class CudaDevice : IDisposable
{
    private readonly int _device;
    private readonly nint _context;
    private readonly HashSet<nint> _deviceMemory = [], _pinnedMemory = [];

    public CudaDevice(int index)
    {
        int device = 0;
        nint context = 0, stream = 0;
        CudaDriver.Check(CudaDriver.cuDeviceGet(&device, index));
        CudaDriver.Check(CudaDriver.cuDevicePrimaryCtxRetain(&context, device));
        (_device, _context) = (device, context);
        MakeCurrent();
        CudaDriver.Check(CudaDriver.cuStreamCreate(&stream, 1));
        Stream = stream;
        Capability = new Version(Attribute(device, DeviceAttribute.ComputeCapabilityMajor), Attribute(device, DeviceAttribute.ComputeCapabilityMinor));
        Multiprocessors = Attribute(device, DeviceAttribute.MultiprocessorCount);
        SharedBytesPerBlock = Attribute(device, DeviceAttribute.MaxSharedMemoryPerBlockOptin);
    }

    public nint Stream { get; }

    public Version Capability { get; }

    public int Multiprocessors { get; }

    /// <summary>The most dynamic shared memory that one block may ask for.</summary>
    public int SharedBytesPerBlock { get; }

    /// <summary>Whether a kernel may start before its predecessor ends.</summary>
    public bool HasProgrammaticLaunch => Capability.Major >= 9;

    /// <summary>Bytes taken on the device.</summary>
    public long AllocatedBytes { get; private set; }

    public static int Attribute(int device, DeviceAttribute attribute)
    {
        int value = 0;
        CudaDriver.Check(CudaDriver.cuDeviceGetAttribute(&value, attribute, device));
        return value;
    }

    /// <summary>Makes the calling thread use this device.</summary>
    public void MakeCurrent() => CudaDriver.Check(CudaDriver.cuCtxSetCurrent(_context));

    /// <summary>Zeroed memory on the device.</summary>
    public nint Allocate(long bytes)
    {
        nint address = 0;
        nuint size = (nuint)Math.Max(bytes, 16);
        int code = CudaDriver.cuMemAlloc_v2(&address, size);
        if (code == CudaDriver.OutOfMemory)
        {
            (long free, long total) = Memory();
            throw new CudaOutOfMemoryException($"The device has no room for {bytes:N0} bytes: {free:N0} of {total:N0} are free, {AllocatedBytes:N0} are taken by this backend. Load a smaller model, or give the key/value cache or the token budget less.");
        }
        CudaDriver.Check(code, nameof(CudaDriver.cuMemAlloc_v2));
        CudaDriver.Check(CudaDriver.cuMemsetD8Async(address, 0, size, Stream));
        _deviceMemory.Add(address);
        AllocatedBytes += (long)size;
        return address;
    }

    /// <summary>Host memory that the device reads and writes directly.</summary>
    public nint AllocatePinned(long bytes)
    {
        nint address = 0;
        CudaDriver.Check(CudaDriver.cuMemHostAlloc(&address, (nuint)Math.Max(bytes, 16), 0));
        NativeMemory.Clear((void*)address, (nuint)bytes);
        _pinnedMemory.Add(address);
        return address;
    }

    /// <summary>Free and total bytes of the device's memory.</summary>
    public static (long Free, long Total) Memory()
    {
        nuint free = 0, total = 0;
        CudaDriver.Check(CudaDriver.cuMemGetInfo_v2(&free, &total));
        return ((long)free, (long)total);
    }

    /// <summary>Waits for all queued work.</summary>
    public void Synchronize() => CudaDriver.Check(CudaDriver.cuStreamSynchronize(Stream));

    /// <summary>An event; with <paramref name="timing"/> one that keeps the time.</summary>
    public static nint CreateEvent(bool timing = false)
    {
        nint handle = 0;
        CudaDriver.Check(CudaDriver.cuEventCreate(&handle, timing ? 0u : 2u));
        return handle;
    }

    public void Dispose()
    {
        // Failures here would only hide the error that led to disposal.
        _ = CudaDriver.cuCtxSetCurrent(_context);
        _ = CudaDriver.cuStreamSynchronize(Stream);
        foreach (nint address in _deviceMemory) _ = CudaDriver.cuMemFree_v2(address);
        foreach (nint address in _pinnedMemory) _ = CudaDriver.cuMemFreeHost(address);
        _deviceMemory.Clear();
        _pinnedMemory.Clear();
        _ = CudaDriver.cuStreamDestroy_v2(Stream);
        _ = CudaDriver.cuDevicePrimaryCtxRelease_v2(_device);
    }
}
