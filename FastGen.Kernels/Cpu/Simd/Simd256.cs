using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FastGen.Kernels.Cpu;

/// <summary>AVX2 with FMA: 8 lanes, 16 registers.</summary>
internal readonly unsafe struct Simd256 : ISimd<Vector256<float>>
{
    public static int Lanes => 8;

    public static int TileRows => 6;

    public static Vector256<float> Zero => Vector256<float>.Zero;

    public static Vector256<float> Indices => Vector256.ConvertToSingle(Vector256<int>.Indices);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(float* source) => Vector256.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Vector256<float> value) => value.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Broadcast(float value) => Vector256.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Add(Vector256<float> left, Vector256<float> right) => left + right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Subtract(Vector256<float> left, Vector256<float> right) => left - right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Multiply(Vector256<float> left, Vector256<float> right) => left * right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Divide(Vector256<float> left, Vector256<float> right) => left / right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyAdd(Vector256<float> left, Vector256<float> right, Vector256<float> addend) => Fma.MultiplyAdd(left, right, addend);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Max(Vector256<float> left, Vector256<float> right) => SelectLess(right, left, left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> SelectLess(Vector256<float> left, Vector256<float> right, Vector256<float> whenTrue, Vector256<float> whenFalse) => Vector256.ConditionalSelect(Vector256.LessThan(left, right), whenTrue, whenFalse);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Abs(Vector256<float> value) => Vector256.Abs(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ScaleByPower(Vector256<float> value, Vector256<float> shifted) => (value.AsInt32() + (shifted.AsInt32() << 23)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector256<float> value) => Simd128.Sum(value.GetLower() + value.GetUpper());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Largest(Vector256<float> value) => Simd128.Largest(Simd128.Max(value.GetLower(), value.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float First(Vector256<float> value) => value.ToScalar();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void WidenBFloat16(ushort* source, out Vector256<float> first, out Vector256<float> second)
    {
        Vector256<uint> words = Vector256.Load((uint*)source);
        first = (words << 16).AsSingle();
        second = (words & Vector256.Create(0xFFFF0000)).AsSingle();
    }

    // Exponent and mantissa of a value, put where an F32 has them and with 224 added to the exponent, are 2¹¹² times the value if it is normal, infinity or NaN.
    // A subnormal value gets an implicit bit so, which doubling it and taking 2⁹⁸ off undoes; any other value that makes no smaller. Both halves go
    // side by side, so that no constant needs a register for long.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void WidenHalf(ushort* source, out Vector256<float> first, out Vector256<float> second)
    {
        Vector256<uint> words = Vector256.Load((uint*)source), sign = Vector256.Create(0x80000000u);
        Vector256<float> low = (((words << 13) & Vector256.Create(0x0FFFE000u)) | Vector256.Create(224u << 23)).AsSingle();
        Vector256<float> high = (((words >> 3) & Vector256.Create(0x0FFFE000u)) | Vector256.Create(224u << 23)).AsSingle();
        Vector256<float> doubledLow = low + low - Vector256.Create(225u << 23).AsSingle(), doubledHigh = high + high - Vector256.Create(225u << 23).AsSingle();
        low = Vector256.MinNative(low, doubledLow) * Vector256.Create(15u << 23).AsSingle();
        high = Vector256.MinNative(high, doubledHigh) * Vector256.Create(15u << 23).AsSingle();
        first = Vector256.ConditionalSelect(sign, words << 16, low.AsUInt32()).AsSingle();
        second = Vector256.ConditionalSelect(sign, words, high.AsUInt32()).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(void* address)
    {
        if (Sse.IsSupported) Sse.Prefetch0(address);
    }
}
