using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Compilation;

/// <summary>The kernels of one device, compiled and loaded when first asked for.</summary>
internal sealed unsafe class KernelLibrary(CudaDevice device, KernelCompiler compiler) : IDisposable
{
    private readonly Dictionary<KernelVariant, CudaKernel> _kernels = [];
    private readonly List<nint> _modules = [];

    /// <summary>Whether kernels may use wgmma and bulk copies.</summary>
    public bool UsesHopperInstructions => compiler.UsesHopperInstructions;

    /// <summary>The kernel <paramref name="name"/> of <paramref name="source"/> with the constants that <paramref name="variant"/> stands for.</summary>
    public CudaKernel Get(string source, string name, in KernelConstants variant)
    {
        KernelVariant key = new(source, name, variant);
        return _kernels.TryGetValue(key, out CudaKernel? kernel) ? kernel : _kernels[key] = Load(key);
    }

    /// <summary>Every kernel loaded so far, with its registers and spills.</summary>
    public IEnumerable<(string Kernel, int Registers, int LocalBytes)> Resources() =>
        _kernels.Select(pair => ($"{pair.Key.Name} {string.Join(' ', pair.Key.Constants.Defines())}", pair.Value.Registers, pair.Value.LocalBytes));

    public void Dispose()
    {
        foreach (nint module in _modules) _ = CudaDriver.cuModuleUnload(module);
        _modules.Clear();
        _kernels.Clear();
    }

    private CudaKernel Load(KernelVariant key)
    {
        byte[] image = compiler.Compile(key.Source, key.Constants.Defines());
        nint module = 0;
        fixed (byte* first = image) CudaDriver.Check(CudaDriver.cuModuleLoadData(&module, first));
        _modules.Add(module);
        return new CudaKernel(device, module, key.Name);
    }

    private readonly record struct KernelVariant(string Source, string Name, KernelConstants Constants);
}
