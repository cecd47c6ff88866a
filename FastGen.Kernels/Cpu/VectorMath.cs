using System.Runtime.CompilerServices;
using FastGen.Compute;

namespace FastGen.Kernels.Cpu;

/// <summary>Exponentials and activations on registers, accurate to a few units in the last place.</summary>
internal static class VectorMath<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    // Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits of the mantissa.
    private const float Rounder = 12582912;
    private const float SmallestExponent = -87.33f;

    /// <summary>e^x for x up to 88; 0 below −87.33, where the result would be subnormal.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Exp(TVector x)
    {
        // x = n · ln 2 + r with |r| ≤ ln 2 / 2; e^r by a Chebyshev fit of degree 6.
        TVector shifted = TSimd.MultiplyAdd(x, TSimd.Broadcast(1.44269504f), TSimd.Broadcast(Rounder));
        TVector n = TSimd.Subtract(shifted, TSimd.Broadcast(Rounder));
        TVector r = TSimd.MultiplyAdd(n, TSimd.Broadcast(-0.693359375f), x);
        r = TSimd.MultiplyAdd(n, TSimd.Broadcast(2.12194440e-4f), r);
        TVector series = TSimd.MultiplyAdd(TSimd.Broadcast(0.001392617612f), r, TSimd.Broadcast(0.008363173075f));
        series = TSimd.MultiplyAdd(series, r, TSimd.Broadcast(0.04166655466f));
        series = TSimd.MultiplyAdd(series, r, TSimd.Broadcast(0.1666657703f));
        series = TSimd.MultiplyAdd(series, r, TSimd.Broadcast(0.5f));
        series = TSimd.MultiplyAdd(TSimd.Multiply(series, r), r, r);
        TVector power = TSimd.ScaleByPower(TSimd.Add(series, TSimd.Broadcast(1)), shifted);
        // The integer addition above may turn NaN into a number; this turns it back.
        power = TSimd.MultiplyAdd(x, TSimd.Zero, power);
        return TSimd.SelectLess(x, TSimd.Broadcast(SmallestExponent), TSimd.Zero, power);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Sigmoid(TVector x)
    {
        TVector one = TSimd.Broadcast(1);
        TVector exp = Exp(TSimd.Subtract(TSimd.Zero, TSimd.Abs(x)));
        return TSimd.Divide(TSimd.SelectLess(x, TSimd.Zero, exp, one), TSimd.Add(one, exp));
    }

    public static TVector Activate(Activation activation, TVector x) => activation switch
    {
        Activation.Relu => TSimd.SelectLess(x, TSimd.Zero, TSimd.Zero, x),
        Activation.Gelu => Gelu(x),
        Activation.GeluTanh => GeluTanh(x),
        Activation.Silu => TSimd.Multiply(x, Sigmoid(x)),
        _ => x,
    };

    // x · Φ(x), with Φ(−a√2) = ½ erfc(a) and erfc(a) = e^(−a²) · t · P(t), t = 1 / (1 + 0.4 a), P a Chebyshev fit on a ≤ 10.
    private static TVector Gelu(TVector x)
    {
        TVector one = TSimd.Broadcast(1), a = TSimd.Multiply(TSimd.Abs(x), TSimd.Broadcast(0.70710678f));
        TVector t = TSimd.Divide(one, TSimd.MultiplyAdd(a, TSimd.Broadcast(0.4f), one));
        TVector fit = TSimd.MultiplyAdd(TSimd.Broadcast(0.038508509f), t, TSimd.Broadcast(-0.1274464349f));
        fit = TSimd.MultiplyAdd(fit, t, TSimd.Broadcast(0.05845088799f));
        fit = TSimd.MultiplyAdd(fit, t, TSimd.Broadcast(0.1158586134f));
        fit = TSimd.MultiplyAdd(fit, t, TSimd.Broadcast(0.06146568687f));
        fit = TSimd.MultiplyAdd(fit, t, TSimd.Broadcast(0.2007425484f));
        fit = TSimd.MultiplyAdd(fit, t, TSimd.Broadcast(0.200125255f));
        fit = TSimd.MultiplyAdd(fit, t, TSimd.Broadcast(0.2266732652f));
        fit = TSimd.MultiplyAdd(fit, t, TSimd.Broadcast(0.2256217069f));
        TVector exp = Exp(TSimd.Subtract(TSimd.Zero, TSimd.Multiply(a, a)));
        TVector tail = TSimd.Multiply(TSimd.Broadcast(0.5f), TSimd.Multiply(TSimd.Multiply(fit, t), exp));
        return TSimd.Multiply(x, TSimd.SelectLess(x, TSimd.Zero, tail, TSimd.Subtract(one, tail)));
    }

    // x · ½ (1 + tanh u) = x · sigmoid(2u), u = √(2/π) (x + 0.044715 x³).
    private static TVector GeluTanh(TVector x)
    {
        TVector cube = TSimd.MultiplyAdd(TSimd.Multiply(TSimd.Multiply(x, x), TSimd.Broadcast(0.044715f)), x, x);
        return TSimd.Multiply(x, Sigmoid(TSimd.Multiply(cube, TSimd.Broadcast(1.59576912f))));
    }
}
