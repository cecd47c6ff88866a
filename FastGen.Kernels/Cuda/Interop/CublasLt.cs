using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastGen.Kernels.Cuda.Libraries;

namespace FastGen.Kernels.Cuda.Interop;

/// <summary>cuBLASLt's functions that we call, and the numbers of its enumerations that they take.</summary>
internal static unsafe partial class CublasLt
{
    public const int ComputeF32 = 68;
    public const int Transpose = 1;
    public const int DescriptorTransposeA = 3;
    public const int DescriptorEpilogue = 7;
    public const int DescriptorBiasPointer = 8;
    public const int EpilogueNone = 1;
    public const int EpilogueBias = 4;
    public const int EpilogueReluBias = 6;
    public const int EpilogueGeluBias = 36;
    public const int PreferenceWorkspaceBytes = 1;

    private const string Library = CudaLibrary.ProductsImport;

    [LibraryImport(Library)] public static partial nuint cublasLtGetVersion();
    [LibraryImport(Library)] public static partial int cublasLtCreate(nint* handle);
    [LibraryImport(Library)] public static partial int cublasLtDestroy(nint handle);
    [LibraryImport(Library)] public static partial int cublasLtMatmulDescCreate(nint* descriptor, int computeType, int scaleType);
    [LibraryImport(Library)] public static partial int cublasLtMatmulDescDestroy(nint descriptor);
    [LibraryImport(Library)] public static partial int cublasLtMatmulDescSetAttribute(nint descriptor, int attribute, void* value, nuint bytes);
    [LibraryImport(Library)] public static partial int cublasLtMatrixLayoutCreate(nint* layout, int type, ulong rows, ulong columns, long leadingDimension);
    [LibraryImport(Library)] public static partial int cublasLtMatrixLayoutDestroy(nint layout);
    [LibraryImport(Library)] public static partial int cublasLtMatmulPreferenceCreate(nint* preference);
    [LibraryImport(Library)] public static partial int cublasLtMatmulPreferenceDestroy(nint preference);
    [LibraryImport(Library)] public static partial int cublasLtMatmulPreferenceSetAttribute(nint preference, int attribute, void* value, nuint bytes);
    [LibraryImport(Library)]
    public static partial int cublasLtMatmulAlgoGetHeuristic(nint handle, nint operation, nint a, nint b, nint c, nint d, nint preference, int asked, MatmulHeuristic* results, int* found);
    [LibraryImport(Library)]
    public static partial int cublasLtMatmul(nint handle, nint operation, void* alpha, nint aData, nint a, nint bData, nint b, void* beta, nint cData, nint c, nint dData, nint d, MatmulHeuristic* algorithm, nint workspace, nuint workspaceBytes, nint stream);
    [LibraryImport(Library)] private static partial byte* cublasLtGetStatusString(int status);

    /// <summary>Throws unless <paramref name="code"/> is 0.</summary>
    public static void Check(int code, [CallerArgumentExpression(nameof(code))] string expression = "")
    {
        if (code != 0) throw new CudaException(CudaDriver.CallName(expression), code, Marshal.PtrToStringUTF8((nint)cublasLtGetStatusString(code)) ?? "unknown");
    }
}

/// <summary>cublasLtMatmulHeuristicResult_t; begins with the algorithm itself.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MatmulHeuristic
{
    private fixed ulong _words[12];
}
