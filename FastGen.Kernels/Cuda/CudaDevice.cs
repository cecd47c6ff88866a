using System.Globalization;
using System.Runtime.InteropServices;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda;

/// <summary>
/// One device: its context, the stream that all work is queued on with a second beside it, and all memory taken on it or pinned for it. What touches the
/// device is virtual, so that one which is not there can stand in where only sizes and choices matter.
/// </summary>
internal unsafe class CudaDevice : IDisposable
{
    private readonly int _device;
    private readonly nint _context, _forked, _joined;
    private readonly long? _memoryLimit;
    private readonly Dictionary<nint, (long Bytes, MemoryUse Use)> _deviceMemory = [];
    private readonly HashSet<nint> _pinnedMemory = [];
    private readonly long[] _used = new long[Enum.GetValues<MemoryUse>().Length];
    private bool _disposed;

    /// <param name="index">The device's number.</param>
    /// <param name="memoryLimit">Bytes that may be taken on it; null for all that it has.</param>
    public CudaDevice(int index, long? memoryLimit = null)
    {
        _memoryLimit = memoryLimit;
        int device = 0;
        nint context = 0;
        CudaDriver.Check(CudaDriver.cuDeviceGet(&device, index));
        Capability = new Version(Attribute(device, DeviceAttribute.ComputeCapabilityMajor), Attribute(device, DeviceAttribute.ComputeCapabilityMinor));
        Multiprocessors = Attribute(device, DeviceAttribute.MultiprocessorCount);
        SharedBytesPerBlock = Attribute(device, DeviceAttribute.MaxSharedMemoryPerBlockOptin);
        CudaDriver.Check(CudaDriver.cuDevicePrimaryCtxRetain(&context, device));
        (_device, _context) = (device, context);
        try
        {
            CudaDriver.Check(CudaDriver.cuCtxSetCurrent(context));
            Stream = MakeStream();
            SideStream = MakeStream();
            _forked = MakeEvent(timing: false);
            _joined = MakeEvent(timing: false);
        }
        catch
        {
            ReleaseStreams();
            _ = CudaDriver.cuDevicePrimaryCtxRelease_v2(device);
            throw;
        }
    }

    /// <summary>A device of these sizes without a context.</summary>
    protected CudaDevice(Version capability, int multiprocessors, int sharedBytesPerBlock) =>
        (Capability, Multiprocessors, SharedBytesPerBlock) = (capability, multiprocessors, sharedBytesPerBlock);

    public nint Stream { get; }

    /// <summary>Where one kernel runs beside those of <see cref="Stream"/>, between <see cref="Fork"/> and <see cref="Join"/>; it has nothing to do otherwise.</summary>
    public nint SideStream { get; }

    /// <summary>
    /// Whether the next kernel on <see cref="Stream"/> must not start before all work ahead of it has ended: its programmatic wait covers the kernel ahead of it on its
    /// own stream, and nowhere is it said to cover a kernel of another stream whose event lies between the two.
    /// </summary>
    public bool StartsNextInOrder { get; set; }

    public Version Capability { get; }

    public int Multiprocessors { get; }

    /// <summary>The most shared memory that one block may have, its kernel's own variables counted.</summary>
    public int SharedBytesPerBlock { get; }

    /// <summary>Whether a kernel may start before its predecessor ends.</summary>
    public bool HasProgrammaticLaunch => Capability.Major >= 9;

    /// <summary>What is noted while <see cref="Rehearse"/> runs; else null.</summary>
    public List<KernelLaunch>? Rehearsal { get; private set; }

    /// <summary>Kernels and copies queued so far, in a rehearsal those that would have been.</summary>
    public long LaunchCount { get; private set; }

    /// <summary>Bytes taken on the device.</summary>
    public long AllocatedBytes => _used.Sum();

    public static int Attribute(int device, DeviceAttribute attribute)
    {
        int value = 0;
        CudaDriver.Check(CudaDriver.cuDeviceGetAttribute(&value, attribute, device));
        return value;
    }

    /// <summary>
    /// The launches of what <paramref name="queue"/> queues, which do not happen: no kernel is compiled, none runs, and no scratch is taken.
    /// </summary>
    public IReadOnlyList<KernelLaunch> Rehearse(Action queue)
    {
        List<KernelLaunch> launches = Rehearsal = [];
        try
        {
            queue();
        }
        finally
        {
            Rehearsal = null;
        }
        return launches;
    }

    /// <summary>Counts what is about to be queued.</summary>
    public void CountLaunch() => LaunchCount++;

    /// <summary>Makes the calling thread use this device.</summary>
    public virtual void MakeCurrent()
    {
        // Its memory is gone; on what has come in its place nothing may run.
        ObjectDisposedException.ThrowIf(_disposed, this);
        CudaDriver.Check(CudaDriver.cuCtxSetCurrent(_context));
    }

    /// <summary>Zeroed memory on the device.</summary>
    /// <exception cref="CudaOutOfMemoryException">There is too little; the message has the sums.</exception>
    public virtual nint Allocate(long bytes, MemoryUse use)
    {
        nint address = 0;
        long size = Math.Max(bytes, 16);
        int code = AllocatedBytes + size > _memoryLimit ? CudaDriver.OutOfMemory : CudaDriver.cuMemAlloc_v2(&address, (nuint)size);
        if (code == CudaDriver.OutOfMemory) throw OutOfMemory(string.Create(CultureInfo.InvariantCulture, $"{size:N0} bytes of {Words(use)}"));
        CudaDriver.Check(code, nameof(CudaDriver.cuMemAlloc_v2));
        _deviceMemory.Add(address, (size, use));
        _used[(int)use] += size;
        CudaDriver.Check(CudaDriver.cuMemsetD8Async(address, 0, (nuint)size, Stream));
        return address;
    }

    /// <summary>Gives memory back; no queued work may still use it. 0 is nothing.</summary>
    public virtual void Free(nint address)
    {
        if (!_deviceMemory.Remove(address, out (long Bytes, MemoryUse Use) allocation)) return;
        _used[(int)allocation.Use] -= allocation.Bytes;
        _ = CudaDriver.cuMemFree_v2(address);
    }

    /// <summary>The exception for an allocation that found too little memory.</summary>
    /// <param name="asked">What was asked for, in words.</param>
    /// <param name="cause">The driver's own complaint, if there is one.</param>
    public CudaOutOfMemoryException OutOfMemory(string asked, Exception? cause = null)
    {
        (long free, long total) = Room();
        string held = string.Join(", ", Enum.GetValues<MemoryUse>().Select(use => string.Create(CultureInfo.InvariantCulture, $"{_used[(int)use]:N0} bytes of {Words(use)}")));
        string message = string.Create(CultureInfo.InvariantCulture, $"The device has no room for {asked}: {free:N0} of {total:N0} bytes are free, and this backend holds {held}. Load a smaller model, or give the key/value cache, the token budget or, where prompts run whole, the context less.");
        return cause is null ? new CudaOutOfMemoryException(message) : new CudaOutOfMemoryException(message, cause);
    }

    /// <summary>Host memory that the device reads and writes directly: zeros, unless <paramref name="clear"/> is false.</summary>
    public virtual nint AllocatePinned(long bytes, bool clear = true)
    {
        nint address = 0;
        int code = CudaDriver.cuMemHostAlloc(&address, (nuint)Math.Max(bytes, 16), 0);
        if (code == CudaDriver.OutOfMemory) throw new CudaOutOfMemoryException(string.Create(CultureInfo.InvariantCulture, $"The host has no {bytes:N0} bytes of page-locked memory to copy through. End programs that hold memory, or raise the limit of locked memory (ulimit -l, a container's memory limit)."));
        CudaDriver.Check(code, nameof(CudaDriver.cuMemHostAlloc));
        _pinnedMemory.Add(address);
        if (clear) NativeMemory.Clear((void*)address, (nuint)bytes);
        return address;
    }

    /// <summary>Gives host memory back; no queued work may still use it. 0 is nothing.</summary>
    public virtual void FreePinned(nint address)
    {
        if (_pinnedMemory.Remove(address)) _ = CudaDriver.cuMemFreeHost(address);
    }

    /// <summary>Whether a fault has made the device useless to this process; another library's call may have been the first to meet it.</summary>
    public bool IsLost => CudaException.Loses(CudaDriver.cuStreamQuery(Stream));

    /// <summary>Free and total bytes of the device's memory.</summary>
    public static (long Free, long Total) Memory()
    {
        nuint free = 0, total = 0;
        CudaDriver.Check(CudaDriver.cuMemGetInfo_v2(&free, &total));
        return ((long)free, (long)total);
    }

    /// <summary>The same of the current device, within what may be taken on it.</summary>
    public virtual (long Free, long Total) Room()
    {
        (long free, long total) = Memory();
        return _memoryLimit is { } limit ? (Math.Min(free, limit - AllocatedBytes), Math.Min(total, limit)) : (free, total);
    }

    /// <summary>Lets the side stream go on once all work queued so far is done. Nothing happens in a rehearsal.</summary>
    public virtual void Fork()
    {
        if (Rehearsal is not null) return;
        RecordEvent(_forked);
        CudaDriver.Check(CudaDriver.cuStreamWaitEvent(SideStream, _forked, 0));
    }

    /// <summary>Lets whatever is queued from now on start once the side stream's work is done too. Nothing happens in a rehearsal.</summary>
    public virtual void Join()
    {
        if (Rehearsal is not null) return;
        StartsNextInOrder = true;
        CudaDriver.Check(CudaDriver.cuEventRecord(_joined, SideStream));
        CudaDriver.Check(CudaDriver.cuStreamWaitEvent(Stream, _joined, 0));
    }

    /// <summary>Waits for all queued work.</summary>
    public virtual void Synchronize()
    {
        CudaDriver.Check(CudaDriver.cuStreamSynchronize(Stream));
        CudaDriver.Check(CudaDriver.cuStreamSynchronize(SideStream));
    }

    /// <summary>Makes the calling thread use this device and waits for all queued work, before disposal: failures would only hide the error that led to it.</summary>
    public virtual void Settle()
    {
        _ = CudaDriver.cuCtxSetCurrent(_context);
        _ = CudaDriver.cuStreamSynchronize(Stream);
        _ = CudaDriver.cuStreamSynchronize(SideStream);
    }

    /// <summary>An event; with <paramref name="timing"/> one that keeps the time.</summary>
    public virtual nint CreateEvent(bool timing = false) => MakeEvent(timing);

    /// <summary>Makes an event happen once all work queued so far is done.</summary>
    public virtual void RecordEvent(nint handle) => CudaDriver.Check(CudaDriver.cuEventRecord(handle, Stream));

    /// <summary>Waits for an event's work.</summary>
    public virtual void AwaitEvent(nint handle) => CudaDriver.Check(CudaDriver.cuEventSynchronize(handle));

    /// <summary>Gives an event back. 0 is nothing.</summary>
    public virtual void DestroyEvent(nint handle)
    {
        if (handle != 0) _ = CudaDriver.cuEventDestroy_v2(handle);
    }

    public void Dispose()
    {
        GC.SuppressFinalize(this);
        if (_disposed) return;
        _disposed = true;
        Settle();
        Release();
    }

    /// <summary>Gives back all memory, the streams and the context.</summary>
    protected virtual void Release()
    {
        foreach (nint address in _deviceMemory.Keys) _ = CudaDriver.cuMemFree_v2(address);
        foreach (nint address in _pinnedMemory) _ = CudaDriver.cuMemFreeHost(address);
        _deviceMemory.Clear();
        _pinnedMemory.Clear();
        Array.Clear(_used);
        ReleaseStreams();
        _ = CudaDriver.cuDevicePrimaryCtxRelease_v2(_device);
    }

    private static nint MakeStream()
    {
        nint stream = 0;
        CudaDriver.Check(CudaDriver.cuStreamCreate(&stream, 1));
        return stream;
    }

    private static nint MakeEvent(bool timing)
    {
        nint handle = 0;
        CudaDriver.Check(CudaDriver.cuEventCreate(&handle, timing ? 0u : 2u));
        return handle;
    }

    // Those that were made.
    private void ReleaseStreams()
    {
        foreach (nint handle in (ReadOnlySpan<nint>)[_forked, _joined])
        {
            if (handle != 0) _ = CudaDriver.cuEventDestroy_v2(handle);
        }
        foreach (nint stream in (ReadOnlySpan<nint>)[SideStream, Stream])
        {
            if (stream != 0) _ = CudaDriver.cuStreamDestroy_v2(stream);
        }
    }

    private static string Words(MemoryUse use) => use switch
    {
        MemoryUse.Weights => "weights",
        MemoryUse.Cache => "key/value cache",
        MemoryUse.Activations => "activations and state",
        _ => "scratch",
    };
}
