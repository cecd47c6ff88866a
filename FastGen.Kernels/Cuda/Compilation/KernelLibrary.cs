using System.Collections.Concurrent;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Compilation;

/// <summary>The kernels of one device: compiled when first launched, or before on several threads, and loaded when first launched.</summary>
/// <param name="device">Where they run.</param>
/// <param name="compiler">Compiles a module; called by several threads at once.</param>
internal sealed unsafe class KernelLibrary(CudaDevice device, IKernelCompiler compiler) : IDisposable
{
    // A compilation holds up to some 100 MB.
    private const int MostThreads = 16;

    private readonly Dictionary<(KernelCode Code, string Name), CudaKernel> _kernels = [];
    private readonly Dictionary<KernelCode, nint> _modules = [];
    private readonly ConcurrentDictionary<KernelCode, byte[]> _images = [];

    /// <summary>Whether kernels may use wgmma and bulk copies.</summary>
    public bool UsesHopperInstructions => compiler.UsesHopperInstructions;

    /// <summary>The kernel <paramref name="name"/> of <paramref name="source"/> with these constants.</summary>
    public CudaKernel Get(string source, string name, in KernelConstants constants)
    {
        (KernelCode, string) key = (new KernelCode(source, constants), name);
        return _kernels.TryGetValue(key, out CudaKernel? kernel) ? kernel : _kernels[key] = new CudaKernel(device, this, key.Item1, name);
    }

    /// <summary>
    /// Compiles what is not yet, on all processors, and returns when it is done. What does not compile is left for its first launch, which says why.
    /// </summary>
    /// <exception cref="OperationCanceledException">It was cancelled; what had begun is compiled.</exception>
    public void Compile(IEnumerable<KernelCode> codes, CancellationToken cancellationToken = default)
    {
        KernelCode[] missing = [.. codes.Distinct().Where(code => !_modules.ContainsKey(code) && !_images.ContainsKey(code))];
        // One at a time: what takes long must not wait behind others of its thread.
        OrderablePartitioner<KernelCode> singly = Partitioner.Create(missing, EnumerablePartitionerOptions.NoBuffering);
        Parallel.ForEach(singly, new ParallelOptions { MaxDegreeOfParallelism = Math.Min(Environment.ProcessorCount, MostThreads), CancellationToken = cancellationToken }, code =>
        {
            try
            {
                _images[code] = compiler.Compile(code);
            }
            catch (CudaException)
            {
            }
        });
    }

    /// <summary>The module of <paramref name="code"/> on the device.</summary>
    public nint ModuleOf(KernelCode code)
    {
        if (_modules.TryGetValue(code, out nint module)) return module;
        byte[] image = _images.TryRemove(code, out byte[]? compiled) ? compiled : compiler.Compile(code);
        fixed (byte* first = image) CudaDriver.Check(CudaDriver.cuModuleLoadData(&module, first));
        return _modules[code] = module;
    }

    /// <summary>Every kernel loaded so far, with its registers and spills.</summary>
    public IEnumerable<(string Kernel, int Registers, int LocalBytes)> Resources() =>
        _kernels.Where(pair => pair.Value.IsLoaded).Select(pair => ($"{pair.Key.Name} {string.Join(' ', pair.Key.Code.Constants.Defines())}", pair.Value.Registers, pair.Value.LocalBytes));

    public void Dispose()
    {
        foreach (nint module in _modules.Values) _ = CudaDriver.cuModuleUnload(module);
        _modules.Clear();
        _kernels.Clear();
        _images.Clear();
    }
}
