using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastGen.Kernels.Cuda.Libraries;

namespace FastGen.Kernels.Cuda.Interop;

/// <summary>The run-time compiler's functions that we call.</summary>
internal static unsafe partial class Nvrtc
{
    private const string Library = CudaLibrary.CompilerImport;

    [LibraryImport(Library)] public static partial int nvrtcVersion(int* major, int* minor);
    [LibraryImport(Library)] public static partial int nvrtcGetNumSupportedArchs(int* count);
    [LibraryImport(Library)] public static partial int nvrtcGetSupportedArchs(int* architectures);
    [LibraryImport(Library)] public static partial int nvrtcCreateProgram(nint* program, byte* source, byte* name, int headerCount, byte** headers, byte** includeNames);
    [LibraryImport(Library)] public static partial int nvrtcDestroyProgram(nint* program);
    [LibraryImport(Library)] public static partial int nvrtcCompileProgram(nint program, int optionCount, byte** options);
    [LibraryImport(Library)] public static partial int nvrtcGetCUBINSize(nint program, nuint* size);
    [LibraryImport(Library)] public static partial int nvrtcGetCUBIN(nint program, byte* image);
    [LibraryImport(Library)] public static partial int nvrtcGetPTXSize(nint program, nuint* size);
    [LibraryImport(Library)] public static partial int nvrtcGetPTX(nint program, byte* text);
    [LibraryImport(Library)] public static partial int nvrtcGetProgramLogSize(nint program, nuint* size);
    [LibraryImport(Library)] public static partial int nvrtcGetProgramLog(nint program, byte* log);
    [LibraryImport(Library)] private static partial byte* nvrtcGetErrorString(int code);

    /// <summary>Throws unless <paramref name="code"/> is 0.</summary>
    public static void Check(int code, [CallerArgumentExpression(nameof(code))] string expression = "")
    {
        if (code != 0) throw new CudaException(CudaDriver.CallName(expression), code, Describe(code));
    }

    /// <summary>The compiler's name for an error.</summary>
    public static string Describe(int code) => Marshal.PtrToStringUTF8((nint)nvrtcGetErrorString(code)) ?? "unknown";
}
