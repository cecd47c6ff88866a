using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace FastGen.Kernels.Cpu;

/// <summary>The portable width, 4 lanes: Arm64, and x64 without AVX2.</summary>
internal readonly unsafe struct Simd128 : ISimd<Vector128<float>>
{
    public static int Lanes => 4;

    // Arm64 has 32 registers, x64 without AVX-512 has 16.
    public static int TileRows => AdvSimd.IsSupported ? 12 : 6;

    public static Vector128<float> Zero => Vector128<float>.Zero;

    public static Vector128<float> Indices => Vector128.ConvertToSingle(Vector128<int>.Indices);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load(float* source) => Vector128.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Vector128<float> value) => value.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Broadcast(float value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Add(Vector128<float> left, Vector128<float> right) => left + right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Subtract(Vector128<float> left, Vector128<float> right) => left - right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Multiply(Vector128<float> left, Vector128<float> right) => left * right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Divide(Vector128<float> left, Vector128<float> right) => left / right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyAdd(Vector128<float> left, Vector128<float> right, Vector128<float> addend)
    {
        if (AdvSimd.IsSupported) return AdvSimd.FusedMultiplyAdd(addend, left, right);
        return (left * right) + addend;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Max(Vector128<float> left, Vector128<float> right) => SelectLess(right, left, left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> SelectLess(Vector128<float> left, Vector128<float> right, Vector128<float> whenTrue, Vector128<float> whenFalse) => Vector128.ConditionalSelect(Vector128.LessThan(left, right), whenTrue, whenFalse);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Abs(Vector128<float> value) => Vector128.Abs(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ScaleByPower(Vector128<float> value, Vector128<float> shifted) => (value.AsInt32() + (shifted.AsInt32() << 23)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector128<float> value) => (value[0] + value[2]) + (value[1] + value[3]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Largest(Vector128<float> value) => MathF.Max(MathF.Max(value[0], value[2]), MathF.Max(value[1], value[3]));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float First(Vector128<float> value) => value.ToScalar();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void WidenBFloat16(ushort* source, out Vector128<float> first, out Vector128<float> second)
    {
        Vector128<uint> words = Vector128.Load((uint*)source);
        first = (words << 16).AsSingle();
        second = (words & Vector128.Create(0xFFFF0000)).AsSingle();
    }

    // Exponent and mantissa of a value, put where an F32 has them and with 224 added to the exponent, are 2¹¹² times the value if it is normal, infinity or NaN.
    // A subnormal value gets an implicit bit so, which doubling it and taking 2⁹⁸ off undoes; any other value that makes no smaller. Both halves go
    // side by side, so that no constant needs a register for long.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void WidenHalf(ushort* source, out Vector128<float> first, out Vector128<float> second)
    {
        Vector128<uint> words = Vector128.Load((uint*)source), sign = Vector128.Create(0x80000000u);
        Vector128<float> low = (((words << 13) & Vector128.Create(0x0FFFE000u)) | Vector128.Create(224u << 23)).AsSingle();
        Vector128<float> high = (((words >> 3) & Vector128.Create(0x0FFFE000u)) | Vector128.Create(224u << 23)).AsSingle();
        Vector128<float> doubledLow = low + low - Vector128.Create(225u << 23).AsSingle(), doubledHigh = high + high - Vector128.Create(225u << 23).AsSingle();
        low = Vector128.MinNative(low, doubledLow) * Vector128.Create(15u << 23).AsSingle();
        high = Vector128.MinNative(high, doubledHigh) * Vector128.Create(15u << 23).AsSingle();
        first = Vector128.ConditionalSelect(sign, words << 16, low.AsUInt32()).AsSingle();
        second = Vector128.ConditionalSelect(sign, words, high.AsUInt32()).AsSingle();
    }

    /// <summary>target[j · stride + i] = source[i · stride + j] for four rows of four.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(float* source, nint sourceStride, float* target, nint targetStride)
    {
        Vector128<float> first = Vector128.Load(source), second = Vector128.Load(source + sourceStride);
        Vector128<float> third = Vector128.Load(source + (2 * sourceStride)), fourth = Vector128.Load(source + (3 * sourceStride));
        // Rows 0 and 2, 1 and 3 zipped; zipping those gives columns.
        (Vector128<float> evenLow, Vector128<float> evenHigh) = Zip(first, third);
        (Vector128<float> oddLow, Vector128<float> oddHigh) = Zip(second, fourth);
        (first, second) = Zip(evenLow, oddLow);
        (third, fourth) = Zip(evenHigh, oddHigh);
        first.Store(target);
        second.Store(target + targetStride);
        third.Store(target + (2 * targetStride));
        fourth.Store(target + (3 * targetStride));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(void* address)
    {
        if (Sse.IsSupported) Sse.Prefetch0(address);
    }

    // The values of both by turns: those of the lower halves, those of the upper halves.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector128<float> Low, Vector128<float> High) Zip(Vector128<float> left, Vector128<float> right)
    {
        if (Sse.IsSupported) return (Sse.UnpackLow(left, right), Sse.UnpackHigh(left, right));
        if (AdvSimd.Arm64.IsSupported) return (AdvSimd.Arm64.ZipLow(left, right), AdvSimd.Arm64.ZipHigh(left, right));
        return (Vector128.Create(left[0], right[0], left[1], right[1]), Vector128.Create(left[2], right[2], left[3], right[3]));
    }
}
