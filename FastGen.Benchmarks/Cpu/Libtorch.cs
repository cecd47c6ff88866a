using System.Runtime.InteropServices;

namespace FastGen.Benchmarks;

/// <summary>
/// Matrix products of libtorch by the C functions that it exports (torch/csrc/inductor/aoti_torch/c/shim.h). Present only in builds
/// with <c>-p:WithLibtorch=true</c>.
/// </summary>
internal static unsafe partial class Libtorch
{
    private const string Library = "torch_cpu";

    /// <summary>Whether the library is beside the program.</summary>
    public static bool IsPresent { get; } = NativeLibrary.TryLoad(Library, typeof(Libtorch).Assembly, null, out _);

    /// <summary>Threads that its products run on.</summary>
    public static void SetThreads(int threads) => SetNumThreads(threads);

    /// <summary>A view of a row-major F32 matrix, or of its transpose.</summary>
    public static nint View(float* data, int rows, int columns, bool transposed)
    {
        long* sizes = stackalloc long[] { rows, columns }, strides = stackalloc long[] { columns, 1 };
        if (transposed)
        {
            (sizes[0], sizes[1]) = (columns, rows);
            (strides[0], strides[1]) = (1, columns);
        }
        Check(CreateTensorFromBlob(data, 2, sizes, strides, 0, DTypeFloat32(), DeviceTypeCpu(), 0, out nint tensor));
        return tensor;
    }

    /// <summary>output = left · right</summary>
    public static void Multiply(nint output, nint left, nint right) => Check(MmOut(output, left, right));

    public static void Delete(nint tensor) => Check(DeleteTensorObject(tensor));

    private static void Check(int error)
    {
        if (error != 0) throw new InvalidOperationException($"libtorch returned error {error}.");
    }

    [LibraryImport(Library, EntryPoint = "_ZN2at15set_num_threadsEi")]
    private static partial void SetNumThreads(int threads);

    [LibraryImport(Library, EntryPoint = "aoti_torch_dtype_float32")]
    private static partial int DTypeFloat32();

    [LibraryImport(Library, EntryPoint = "aoti_torch_device_type_cpu")]
    private static partial int DeviceTypeCpu();

    [LibraryImport(Library, EntryPoint = "aoti_torch_create_tensor_from_blob")]
    private static partial int CreateTensorFromBlob(void* data, long dimensions, long* sizes, long* strides, long offset, int dtype, int deviceType, int deviceIndex, out nint tensor);

    [LibraryImport(Library, EntryPoint = "aoti_torch_cpu_mm_out")]
    private static partial int MmOut(nint output, nint left, nint right);

    [LibraryImport(Library, EntryPoint = "aoti_torch_delete_tensor_object")]
    private static partial int DeleteTensorObject(nint tensor);
}
