using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FastGen.Kernels.Cpu;

/// <summary>AVX-512: 16 lanes, 32 registers.</summary>
internal readonly unsafe struct Simd512 : ISimd<Vector512<float>>
{
    public static int Lanes => 16;

    public static int TileRows => 12;

    public static Vector512<float> Zero => Vector512<float>.Zero;

    public static Vector512<float> Indices => Vector512.ConvertToSingle(Vector512<int>.Indices);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(float* source) => Vector512.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Vector512<float> value) => value.Store(target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Broadcast(float value) => Vector512.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> left, Vector512<float> right) => left + right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Subtract(Vector512<float> left, Vector512<float> right) => left - right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Multiply(Vector512<float> left, Vector512<float> right) => left * right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Divide(Vector512<float> left, Vector512<float> right) => left / right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyAdd(Vector512<float> left, Vector512<float> right, Vector512<float> addend) => Avx512F.FusedMultiplyAdd(left, right, addend);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Max(Vector512<float> left, Vector512<float> right) => SelectLess(right, left, left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> SelectLess(Vector512<float> left, Vector512<float> right, Vector512<float> whenTrue, Vector512<float> whenFalse) => Vector512.ConditionalSelect(Vector512.LessThan(left, right), whenTrue, whenFalse);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Abs(Vector512<float> value) => Vector512.Abs(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> ScaleByPower(Vector512<float> value, Vector512<float> shifted) => (value.AsInt32() + (shifted.AsInt32() << 23)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector512<float> value) => Simd256.Sum(value.GetLower() + value.GetUpper());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Largest(Vector512<float> value) => Simd256.Largest(Simd256.Max(value.GetLower(), value.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float First(Vector512<float> value) => value.ToScalar();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void WidenBFloat16(ushort* source, out Vector512<float> first, out Vector512<float> second)
    {
        Vector512<uint> words = Vector512.Load((uint*)source);
        first = (words << 16).AsSingle();
        second = (words & Vector512.Create(0xFFFF0000)).AsSingle();
    }

    // Exponent and mantissa of a value, put where an F32 has them and with 224 added to the exponent, are 2¹¹² times the value if it is normal, infinity or NaN.
    // A subnormal value gets an implicit bit so, which doubling it and taking 2⁹⁸ off undoes; any other value that makes no smaller. Both halves go
    // side by side, so that no constant needs a register for long.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void WidenHalf(ushort* source, out Vector512<float> first, out Vector512<float> second)
    {
        Vector512<uint> words = Vector512.Load((uint*)source), sign = Vector512.Create(0x80000000u);
        Vector512<float> low = (((words << 13) & Vector512.Create(0x0FFFE000u)) | Vector512.Create(224u << 23)).AsSingle();
        Vector512<float> high = (((words >> 3) & Vector512.Create(0x0FFFE000u)) | Vector512.Create(224u << 23)).AsSingle();
        Vector512<float> doubledLow = low + low - Vector512.Create(225u << 23).AsSingle(), doubledHigh = high + high - Vector512.Create(225u << 23).AsSingle();
        low = Vector512.MinNative(low, doubledLow) * Vector512.Create(15u << 23).AsSingle();
        high = Vector512.MinNative(high, doubledHigh) * Vector512.Create(15u << 23).AsSingle();
        first = Vector512.ConditionalSelect(sign, words << 16, low.AsUInt32()).AsSingle();
        second = Vector512.ConditionalSelect(sign, words, high.AsUInt32()).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(void* address)
    {
        if (Sse.IsSupported) Sse.Prefetch0(address);
    }
}
