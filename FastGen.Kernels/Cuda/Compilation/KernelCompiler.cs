using System.Runtime.InteropServices;
using System.Text;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Compilation;

/// <summary>
/// Compiles the kernel sources embedded in this assembly for one architecture, through the cache. NVRTC takes calls of several threads as long as each has its own
/// program; since CUDA 12.3 all of its phases run side by side.
/// </summary>
internal sealed unsafe class KernelCompiler : IKernelCompiler
{
    private const string ResourcePrefix = "FastGen.Kernels.Cuda.";

    private static readonly string[] HeaderNames =
        [.. typeof(KernelCompiler).Assembly.GetManifestResourceNames().Where(name => name.EndsWith(".cuh", StringComparison.Ordinal)).Select(name => name[ResourcePrefix.Length..]).Order(StringComparer.Ordinal)];

    private static readonly string[] Headers = [.. HeaderNames.Select(Source)];

    private readonly KernelCache? _cache;
    private readonly string _architecture, _version;
    private readonly bool _toMachineCode;

    /// <summary>A compiler for devices of <paramref name="capability"/>; without a cache it compiles whatever it is asked for.</summary>
    public KernelCompiler(Version capability, KernelCache? cache, bool useHopperInstructions)
    {
        _cache = cache;
        int major = 0, minor = 0;
        Nvrtc.Check(Nvrtc.nvrtcVersion(&major, &minor));
        _version = $"{major}.{minor}";
        int wanted = (10 * capability.Major) + capability.Minor, best = 0;
        foreach (int known in SupportedArchitectures())
        {
            if (known <= wanted && known > best) best = known;
        }
        if (best == 0) throw new CudaException($"NVRTC {_version} compiles for no architecture up to {capability}: use a version of CUDA that knows this device.");
        UsesHopperInstructions = useHopperInstructions && wanted == 90 && best == 90;
        _toMachineCode = best == wanted;
        // Machine code where NVRTC knows the device; else the newest PTX, which the driver compiles further.
        _architecture = _toMachineCode ? $"sm_{best}{(UsesHopperInstructions ? "a" : "")}" : $"compute_{best}";
    }

    /// <inheritdoc/>
    public bool UsesHopperInstructions { get; }

    /// <inheritdoc/>
    public byte[] Compile(KernelCode code)
    {
        string source = Source(code.Source + ".cu");
        List<string> options = [$"--gpu-architecture={_architecture}", "--std=c++17", "--define-macro=HOPPER=" + (UsesHopperInstructions ? "1" : "0"), "--extra-device-vectorization"];
        foreach (string define in code.Constants.Defines()) options.Add("--define-macro=" + define);
        byte[] Build() => KernelCompiler.Build(code.Source, source, options, _toMachineCode);
        return _cache is null ? Build() : _cache.GetOrAdd(KernelCache.Key([source, .. Headers, string.Join('\n', options), _version]), Build);
    }

    private static int[] SupportedArchitectures()
    {
        int count = 0;
        Nvrtc.Check(Nvrtc.nvrtcGetNumSupportedArchs(&count));
        int[] architectures = new int[count];
        fixed (int* first = architectures) Nvrtc.Check(Nvrtc.nvrtcGetSupportedArchs(first));
        return architectures;
    }

    private static string Source(string file)
    {
        using Stream stream = typeof(KernelCompiler).Assembly.GetManifestResourceStream(ResourcePrefix + file)
            ?? throw new CudaException($"The kernel source {file} is not embedded in {typeof(KernelCompiler).Assembly.GetName().Name}.");
        using StreamReader reader = new(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }

    private static byte[] Build(string name, string source, List<string> options, bool toMachineCode)
    {
        using Utf8Strings texts = new([source, name + ".cu"]), headers = new(Headers), includes = new(HeaderNames), arguments = new(options);
        nint program = 0;
        Nvrtc.Check(Nvrtc.nvrtcCreateProgram(&program, texts.Pointers[0], texts.Pointers[1], HeaderNames.Length, headers.Pointers, includes.Pointers));
        try
        {
            int code = Nvrtc.nvrtcCompileProgram(program, options.Count, arguments.Pointers);
            if (code != 0) throw new CudaException($"{name}.cu does not compile ({Nvrtc.Describe(code)}; {string.Join(' ', options)}):\n{Log(program)}");
            return Image(program, toMachineCode);
        }
        finally
        {
            _ = Nvrtc.nvrtcDestroyProgram(&program);
        }
    }

    private static byte[] Image(nint program, bool toMachineCode)
    {
        nuint size = 0;
        Nvrtc.Check(toMachineCode ? Nvrtc.nvrtcGetCUBINSize(program, &size) : Nvrtc.nvrtcGetPTXSize(program, &size));
        byte[] image = new byte[(int)size];
        fixed (byte* first = image) Nvrtc.Check(toMachineCode ? Nvrtc.nvrtcGetCUBIN(program, first) : Nvrtc.nvrtcGetPTX(program, first));
        return image;
    }

    private static string Log(nint program)
    {
        nuint size = 0;
        if (Nvrtc.nvrtcGetProgramLogSize(program, &size) != 0 || size == 0) return "";
        byte[] log = new byte[(int)size];
        fixed (byte* first = log) Nvrtc.Check(Nvrtc.nvrtcGetProgramLog(program, first));
        return Encoding.UTF8.GetString(log).TrimEnd('\0', '\n');
    }

    // Zero-terminated strings in native memory, as the compiler's arrays of char* want them.
    private sealed class Utf8Strings : IDisposable
    {
        private readonly int _count;

        public Utf8Strings(IReadOnlyList<string> texts)
        {
            _count = texts.Count;
            Pointers = (byte**)NativeMemory.AllocZeroed((nuint)_count, (nuint)sizeof(nint));
            for (int i = 0; i < _count; i++) Pointers[i] = (byte*)Marshal.StringToCoTaskMemUTF8(texts[i]);
        }

        public byte** Pointers { get; }

        public void Dispose()
        {
            for (int i = 0; i < _count; i++) Marshal.FreeCoTaskMem((nint)Pointers[i]);
            NativeMemory.Free(Pointers);
        }
    }
}
