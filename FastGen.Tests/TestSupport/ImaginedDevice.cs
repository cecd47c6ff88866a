using System.Runtime.InteropServices;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Products;

namespace FastGen.Tests;

/// <summary>A CUDA device of given sizes that is not there: a backend on it queues, but runs nothing. Addresses on it are aligned as the driver aligns them.</summary>
internal sealed unsafe class ImaginedDevice(Version capability, int multiprocessors, int sharedBytesPerBlock) : CudaDevice(capability, multiprocessors, sharedBytesPerBlock)
{
    private const int Alignment = 256;

    private nint _next = 1 << 30;

    /// <summary>What sm_80, sm_86, sm_89 and sm_90 have, and slices of them.</summary>
    public static IReadOnlyList<(string Name, Version Capability, int Multiprocessors, int SharedBytesPerBlock)> Kinds { get; } =
    [
        ("H200", new Version(9, 0), 132, 227 << 10), ("H100 PCIe", new Version(9, 0), 114, 227 << 10), ("H200 slice", new Version(9, 0), 16, 227 << 10),
        ("A100", new Version(8, 0), 108, 163 << 10), ("A100 slice", new Version(8, 0), 14, 163 << 10),
        ("RTX 3090", new Version(8, 6), 82, 99 << 10), ("RTX 3060", new Version(8, 6), 28, 99 << 10), ("RTX 3050", new Version(8, 6), 16, 99 << 10),
        ("RTX 4090", new Version(8, 9), 128, 99 << 10), ("L4", new Version(8, 9), 58, 99 << 10),
    ];

    /// <summary>Bytes of device memory taken, given back or not.</summary>
    public long TakenBytes { get; private set; }

    /// <summary>The most that they may become.</summary>
    public long MostBytes { get; set; } = long.MaxValue;

    /// <summary>What it says is free, and of how much.</summary>
    public (long Free, long Total) Available { get; set; }

    /// <summary>Pinned memory held.</summary>
    public HashSet<nint> Pinned { get; } = [];

    /// <summary>Device memory held.</summary>
    public HashSet<nint> Held { get; } = [];

    /// <summary>Events held.</summary>
    public HashSet<nint> Events { get; } = [];

    /// <summary>How many launches a rehearsal had at each fork and at its join.</summary>
    public List<(int Fork, int Join)> Forks { get; } = [];

    /// <summary>Called before anything is taken; throws to refuse it.</summary>
    public Action? Taking { get; set; }

    /// <summary>A device of that name.</summary>
    public static ImaginedDevice Of(string kind)
    {
        (_, Version capability, int multiprocessors, int sharedBytes) = Kinds.Single(known => known.Name == kind);
        return new ImaginedDevice(capability, multiprocessors, sharedBytes);
    }

    /// <summary>A backend on it, which takes kernels from <paramref name="compiler"/>.</summary>
    public CudaBackend Backend(CudaOptions? options = null, IKernelCompiler? compiler = null)
    {
        options ??= new CudaOptions();
        CudaDeviceInfo info = new(0, "imagined", Capability, 0, Multiprocessors);
        return new CudaBackend(new CudaParts(this, info, Kernels(options.UseHopperInstructions, compiler), new ProductChoices(new KernelCache(Path.GetTempPath()), "imagined")), options);
    }

    /// <summary>Its kernels.</summary>
    public KernelLibrary Kernels(bool useHopperInstructions = true, IKernelCompiler? compiler = null) => new(this, compiler ?? new NoCompiler(useHopperInstructions && Capability == new Version(9, 0)));

    public override void MakeCurrent()
    {
    }

    public override void Synchronize()
    {
    }

    public override void Settle()
    {
    }

    public override nint Allocate(long bytes, MemoryUse use)
    {
        if (bytes > MostBytes - TakenBytes) throw new CudaOutOfMemoryException($"{bytes} bytes are more than {MostBytes - TakenBytes}");
        nint address = Take(bytes);
        Held.Add(address);
        TakenBytes += bytes;
        return address;
    }

    public override void Free(nint address)
    {
        if (address != 0) Assert(Held.Remove(address), "device memory");
    }

    public override (long Free, long Total) Room() => Available;

    public override nint AllocatePinned(long bytes, bool clear = true)
    {
        Taking?.Invoke();
        nint address = (nint)NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 16), Alignment);
        if (clear) NativeMemory.Clear((void*)address, (nuint)bytes);
        Pinned.Add(address);
        return address;
    }

    public override void FreePinned(nint address)
    {
        if (address == 0) return;
        Assert(Pinned.Remove(address), "pinned memory");
        NativeMemory.AlignedFree((void*)address);
    }

    public override nint CreateEvent(bool timing = false)
    {
        nint handle = Take(1);
        Events.Add(handle);
        return handle;
    }

    public override void AwaitEvent(nint handle)
    {
    }

    public override void RecordEvent(nint handle)
    {
    }

    public override void Fork() => Forks.Add((Rehearsal?.Count ?? 0, -1));

    public override void Join() => Forks[^1] = Forks[^1] with { Join = Rehearsal?.Count ?? 0 };

    public override void DestroyEvent(nint handle)
    {
        if (handle != 0) Assert(Events.Remove(handle), "an event");
    }

    protected override void Release()
    {
        foreach (nint address in Pinned) NativeMemory.AlignedFree((void*)address);
        Pinned.Clear();
        Held.Clear();
    }

    private static void Assert(bool held, string what)
    {
        if (!held) throw new InvalidOperationException($"Given back twice, or never taken: {what}.");
    }

    private nint Take(long bytes)
    {
        Taking?.Invoke();
        nint address = _next;
        _next += (nint)((bytes + Alignment - 1) / Alignment * Alignment);
        return address;
    }

    private sealed class NoCompiler(bool usesHopperInstructions) : IKernelCompiler
    {
        public bool UsesHopperInstructions => usesHopperInstructions;

        public byte[] Compile(KernelCode code) => throw new InvalidOperationException($"Nothing is compiled for a device that is not there: {code}.");
    }
}
