using System.Text;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Compilation;

/// <summary>A kernel, loaded when it is first launched. Its one parameter is a struct, the same in C# and in its source.</summary>
internal sealed unsafe class CudaKernel(CudaDevice device, KernelLibrary library, KernelCode code, string name)
{
    private const int MaxDynamicSharedBytes = 8;
    private const int RegistersPerThread = 4;
    private const int LocalBytesPerThread = 3;
    private const int StaticSharedBytes = 1;
    private const int SharedBytesUnasked = 48 * 1024;

    private nint _function;
    private int _sharedBytes;

    /// <summary>Whether it was ever launched.</summary>
    public bool IsLoaded => _function != 0;

    /// <summary>Registers of one thread.</summary>
    public int Registers => Attribute(RegistersPerThread);

    /// <summary>Bytes of one thread's spills and local arrays.</summary>
    public int LocalBytes => Attribute(LocalBytesPerThread);

    /// <summary>
    /// Queues the kernel. It may start before its predecessor ends: every kernel waits before it touches what others write. With <paramref name="beside"/> it goes to
    /// the side stream, between the device's fork and join, and starts after all that was queued before the fork has ended.
    /// </summary>
    public void Launch<T>(in T arguments, (int X, int Y, int Z) grid, int threads, int sharedBytes = 0, int cluster = 1, bool clusterAlongY = false, bool beside = false)
        where T : unmanaged
    {
        device.CountLaunch();
        if (device.Rehearsal is { } rehearsal)
        {
            rehearsal.Add(new KernelLaunch(code, name, grid, threads, sharedBytes, cluster, clusterAlongY, beside));
            return;
        }
        if (!IsLoaded) Load();
        if (sharedBytes > _sharedBytes)
        {
            CudaDriver.Check(CudaDriver.cuFuncSetAttribute(_function, MaxDynamicSharedBytes, sharedBytes));
            _sharedBytes = sharedBytes;
        }
        LaunchAttribute* attributes = stackalloc LaunchAttribute[2];
        uint count = 0;
        // Before compute capability 9.0 there is no programmatic launch, and there are no clusters.
        if (device.HasProgrammaticLaunch)
        {
            // What an event of the other stream holds back starts when that has happened, without it.
            if (!beside && !device.StartsNextInOrder) attributes[count++] = new LaunchAttribute { Id = LaunchAttribute.ProgrammaticStreamSerialization, X = 1 };
            if (cluster > 1) attributes[count++] = new LaunchAttribute { Id = LaunchAttribute.ClusterDimension, X = clusterAlongY ? 1 : (uint)cluster, Y = clusterAlongY ? (uint)cluster : 1, Z = 1 };
        }
        LaunchConfiguration configuration = new()
        {
            GridX = (uint)grid.X,
            GridY = (uint)grid.Y,
            GridZ = (uint)grid.Z,
            BlockX = (uint)threads,
            BlockY = 1,
            BlockZ = 1,
            SharedBytes = (uint)sharedBytes,
            Stream = beside ? device.SideStream : device.Stream,
            Attributes = attributes,
            AttributeCount = count,
        };
        fixed (T* pointer = &arguments)
        {
            void* parameter = pointer;
            CudaDriver.Check(CudaDriver.cuLaunchKernelEx(&configuration, _function, &parameter, null));
        }
        if (!beside) device.StartsNextInOrder = false;
    }

    private void Load()
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(name + '\0');
        nint module = library.ModuleOf(code), function = 0;
        fixed (byte* first = utf8) CudaDriver.Check(CudaDriver.cuModuleGetFunction(&function, module, first));
        _function = function;
        // What a kernel may take without asking for more counts its own variables too.
        _sharedBytes = SharedBytesUnasked - Attribute(StaticSharedBytes);
    }

    private int Attribute(int attribute)
    {
        int value = 0;
        CudaDriver.Check(CudaDriver.cuFuncGetAttribute(&value, attribute, _function));
        return value;
    }
}
