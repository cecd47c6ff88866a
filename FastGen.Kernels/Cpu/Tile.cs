using System.Runtime.CompilerServices;

namespace FastGen.Kernels.Cpu;

/// <summary>
/// The micro-kernel of every product: some rows times a panel two registers wide, all sums in registers. Each output is one chain of
/// fused multiply-adds over the steps in order, whatever the tile's height, so the same inputs give the same bits in any batch.
/// </summary>
internal static unsafe class Tile<TSimd, TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    /// <summary>The height of the tile that <paramref name="rows"/> rows are packed for.</summary>
    public static int Height(int rows) => rows switch
    {
        1 or 2 => rows,
        <= 4 => 4,
        <= 6 => 6,
        <= 8 => 8,
        _ => TSimd.TileRows,
    };

    /// <summary>target[r, 0..2·lanes] = Σ over k of rows[k · height + r] · panel[k], added to what it holds when <paramref name="accumulate"/>.</summary>
    /// <param name="height">From <see cref="Height"/>.</param>
    /// <param name="panel">The second operand.</param>
    /// <param name="rows">The first operand: the values of all rows for step 0, then for step 1, …</param>
    /// <param name="steps">Terms of each sum.</param>
    /// <param name="target">Sums.</param>
    /// <param name="stride">Floats from one row of the target to the next.</param>
    /// <param name="accumulate">Adds to the target instead of setting it.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Multiply<TPanel>(int height, TPanel panel, float* rows, nint steps, float* target, nint stride, bool accumulate)
        where TPanel : struct, IPanel<TVector>
    {
        switch (height)
        {
            case 1: Rows1(panel, rows, steps, target, accumulate); break;
            case 2: Rows2(panel, rows, steps, target, stride, accumulate); break;
            case 4: Rows4(panel, rows, steps, target, stride, accumulate); break;
            case 6: Rows6(panel, rows, steps, target, stride, accumulate); break;
            case 8: Rows8(panel, rows, steps, target, stride, accumulate); break;
            default: Rows12(panel, rows, steps, target, stride, accumulate); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1<TPanel>(TPanel panel, float* rows, nint steps, float* target, bool accumulate)
        where TPanel : struct, IPanel<TVector>
    {
        TVector a0 = TSimd.Zero, b0 = TSimd.Zero;
        for (nint k = 0; k < steps; k++)
        {
            panel.Load(k, out TVector first, out TVector second);
            TVector x = TSimd.Broadcast(rows[0]);
            a0 = TSimd.MultiplyAdd(x, first, a0);
            b0 = TSimd.MultiplyAdd(x, second, b0);
            rows += 1;
        }
        Store(target, a0, b0, accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2<TPanel>(TPanel panel, float* rows, nint steps, float* target, nint stride, bool accumulate)
        where TPanel : struct, IPanel<TVector>
    {
        TVector a0 = TSimd.Zero, b0 = TSimd.Zero;
        TVector a1 = TSimd.Zero, b1 = TSimd.Zero;
        for (nint k = 0; k < steps; k++)
        {
            panel.Load(k, out TVector first, out TVector second);
            TVector x = TSimd.Broadcast(rows[0]);
            a0 = TSimd.MultiplyAdd(x, first, a0);
            b0 = TSimd.MultiplyAdd(x, second, b0);
            x = TSimd.Broadcast(rows[1]);
            a1 = TSimd.MultiplyAdd(x, first, a1);
            b1 = TSimd.MultiplyAdd(x, second, b1);
            rows += 2;
        }
        Store(target, a0, b0, accumulate);
        Store(target + stride, a1, b1, accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4<TPanel>(TPanel panel, float* rows, nint steps, float* target, nint stride, bool accumulate)
        where TPanel : struct, IPanel<TVector>
    {
        TVector a0 = TSimd.Zero, b0 = TSimd.Zero;
        TVector a1 = TSimd.Zero, b1 = TSimd.Zero;
        TVector a2 = TSimd.Zero, b2 = TSimd.Zero;
        TVector a3 = TSimd.Zero, b3 = TSimd.Zero;
        for (nint k = 0; k < steps; k++)
        {
            panel.Load(k, out TVector first, out TVector second);
            TVector x = TSimd.Broadcast(rows[0]);
            a0 = TSimd.MultiplyAdd(x, first, a0);
            b0 = TSimd.MultiplyAdd(x, second, b0);
            x = TSimd.Broadcast(rows[1]);
            a1 = TSimd.MultiplyAdd(x, first, a1);
            b1 = TSimd.MultiplyAdd(x, second, b1);
            x = TSimd.Broadcast(rows[2]);
            a2 = TSimd.MultiplyAdd(x, first, a2);
            b2 = TSimd.MultiplyAdd(x, second, b2);
            x = TSimd.Broadcast(rows[3]);
            a3 = TSimd.MultiplyAdd(x, first, a3);
            b3 = TSimd.MultiplyAdd(x, second, b3);
            rows += 4;
        }
        Store(target, a0, b0, accumulate);
        Store(target + stride, a1, b1, accumulate);
        Store(target + (2 * stride), a2, b2, accumulate);
        Store(target + (3 * stride), a3, b3, accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows6<TPanel>(TPanel panel, float* rows, nint steps, float* target, nint stride, bool accumulate)
        where TPanel : struct, IPanel<TVector>
    {
        TVector a0 = TSimd.Zero, b0 = TSimd.Zero;
        TVector a1 = TSimd.Zero, b1 = TSimd.Zero;
        TVector a2 = TSimd.Zero, b2 = TSimd.Zero;
        TVector a3 = TSimd.Zero, b3 = TSimd.Zero;
        TVector a4 = TSimd.Zero, b4 = TSimd.Zero;
        TVector a5 = TSimd.Zero, b5 = TSimd.Zero;
        for (nint k = 0; k < steps; k++)
        {
            panel.Load(k, out TVector first, out TVector second);
            TVector x = TSimd.Broadcast(rows[0]);
            a0 = TSimd.MultiplyAdd(x, first, a0);
            b0 = TSimd.MultiplyAdd(x, second, b0);
            x = TSimd.Broadcast(rows[1]);
            a1 = TSimd.MultiplyAdd(x, first, a1);
            b1 = TSimd.MultiplyAdd(x, second, b1);
            x = TSimd.Broadcast(rows[2]);
            a2 = TSimd.MultiplyAdd(x, first, a2);
            b2 = TSimd.MultiplyAdd(x, second, b2);
            x = TSimd.Broadcast(rows[3]);
            a3 = TSimd.MultiplyAdd(x, first, a3);
            b3 = TSimd.MultiplyAdd(x, second, b3);
            x = TSimd.Broadcast(rows[4]);
            a4 = TSimd.MultiplyAdd(x, first, a4);
            b4 = TSimd.MultiplyAdd(x, second, b4);
            x = TSimd.Broadcast(rows[5]);
            a5 = TSimd.MultiplyAdd(x, first, a5);
            b5 = TSimd.MultiplyAdd(x, second, b5);
            rows += 6;
        }
        Store(target, a0, b0, accumulate);
        Store(target + stride, a1, b1, accumulate);
        Store(target + (2 * stride), a2, b2, accumulate);
        Store(target + (3 * stride), a3, b3, accumulate);
        Store(target + (4 * stride), a4, b4, accumulate);
        Store(target + (5 * stride), a5, b5, accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows8<TPanel>(TPanel panel, float* rows, nint steps, float* target, nint stride, bool accumulate)
        where TPanel : struct, IPanel<TVector>
    {
        TVector a0 = TSimd.Zero, b0 = TSimd.Zero;
        TVector a1 = TSimd.Zero, b1 = TSimd.Zero;
        TVector a2 = TSimd.Zero, b2 = TSimd.Zero;
        TVector a3 = TSimd.Zero, b3 = TSimd.Zero;
        TVector a4 = TSimd.Zero, b4 = TSimd.Zero;
        TVector a5 = TSimd.Zero, b5 = TSimd.Zero;
        TVector a6 = TSimd.Zero, b6 = TSimd.Zero;
        TVector a7 = TSimd.Zero, b7 = TSimd.Zero;
        for (nint k = 0; k < steps; k++)
        {
            panel.Load(k, out TVector first, out TVector second);
            TVector x = TSimd.Broadcast(rows[0]);
            a0 = TSimd.MultiplyAdd(x, first, a0);
            b0 = TSimd.MultiplyAdd(x, second, b0);
            x = TSimd.Broadcast(rows[1]);
            a1 = TSimd.MultiplyAdd(x, first, a1);
            b1 = TSimd.MultiplyAdd(x, second, b1);
            x = TSimd.Broadcast(rows[2]);
            a2 = TSimd.MultiplyAdd(x, first, a2);
            b2 = TSimd.MultiplyAdd(x, second, b2);
            x = TSimd.Broadcast(rows[3]);
            a3 = TSimd.MultiplyAdd(x, first, a3);
            b3 = TSimd.MultiplyAdd(x, second, b3);
            x = TSimd.Broadcast(rows[4]);
            a4 = TSimd.MultiplyAdd(x, first, a4);
            b4 = TSimd.MultiplyAdd(x, second, b4);
            x = TSimd.Broadcast(rows[5]);
            a5 = TSimd.MultiplyAdd(x, first, a5);
            b5 = TSimd.MultiplyAdd(x, second, b5);
            x = TSimd.Broadcast(rows[6]);
            a6 = TSimd.MultiplyAdd(x, first, a6);
            b6 = TSimd.MultiplyAdd(x, second, b6);
            x = TSimd.Broadcast(rows[7]);
            a7 = TSimd.MultiplyAdd(x, first, a7);
            b7 = TSimd.MultiplyAdd(x, second, b7);
            rows += 8;
        }
        Store(target, a0, b0, accumulate);
        Store(target + stride, a1, b1, accumulate);
        Store(target + (2 * stride), a2, b2, accumulate);
        Store(target + (3 * stride), a3, b3, accumulate);
        Store(target + (4 * stride), a4, b4, accumulate);
        Store(target + (5 * stride), a5, b5, accumulate);
        Store(target + (6 * stride), a6, b6, accumulate);
        Store(target + (7 * stride), a7, b7, accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows12<TPanel>(TPanel panel, float* rows, nint steps, float* target, nint stride, bool accumulate)
        where TPanel : struct, IPanel<TVector>
    {
        TVector a0 = TSimd.Zero, b0 = TSimd.Zero;
        TVector a1 = TSimd.Zero, b1 = TSimd.Zero;
        TVector a2 = TSimd.Zero, b2 = TSimd.Zero;
        TVector a3 = TSimd.Zero, b3 = TSimd.Zero;
        TVector a4 = TSimd.Zero, b4 = TSimd.Zero;
        TVector a5 = TSimd.Zero, b5 = TSimd.Zero;
        TVector a6 = TSimd.Zero, b6 = TSimd.Zero;
        TVector a7 = TSimd.Zero, b7 = TSimd.Zero;
        TVector a8 = TSimd.Zero, b8 = TSimd.Zero;
        TVector a9 = TSimd.Zero, b9 = TSimd.Zero;
        TVector a10 = TSimd.Zero, b10 = TSimd.Zero;
        TVector a11 = TSimd.Zero, b11 = TSimd.Zero;
        for (nint k = 0; k < steps; k++)
        {
            panel.Load(k, out TVector first, out TVector second);
            TVector x = TSimd.Broadcast(rows[0]);
            a0 = TSimd.MultiplyAdd(x, first, a0);
            b0 = TSimd.MultiplyAdd(x, second, b0);
            x = TSimd.Broadcast(rows[1]);
            a1 = TSimd.MultiplyAdd(x, first, a1);
            b1 = TSimd.MultiplyAdd(x, second, b1);
            x = TSimd.Broadcast(rows[2]);
            a2 = TSimd.MultiplyAdd(x, first, a2);
            b2 = TSimd.MultiplyAdd(x, second, b2);
            x = TSimd.Broadcast(rows[3]);
            a3 = TSimd.MultiplyAdd(x, first, a3);
            b3 = TSimd.MultiplyAdd(x, second, b3);
            x = TSimd.Broadcast(rows[4]);
            a4 = TSimd.MultiplyAdd(x, first, a4);
            b4 = TSimd.MultiplyAdd(x, second, b4);
            x = TSimd.Broadcast(rows[5]);
            a5 = TSimd.MultiplyAdd(x, first, a5);
            b5 = TSimd.MultiplyAdd(x, second, b5);
            x = TSimd.Broadcast(rows[6]);
            a6 = TSimd.MultiplyAdd(x, first, a6);
            b6 = TSimd.MultiplyAdd(x, second, b6);
            x = TSimd.Broadcast(rows[7]);
            a7 = TSimd.MultiplyAdd(x, first, a7);
            b7 = TSimd.MultiplyAdd(x, second, b7);
            x = TSimd.Broadcast(rows[8]);
            a8 = TSimd.MultiplyAdd(x, first, a8);
            b8 = TSimd.MultiplyAdd(x, second, b8);
            x = TSimd.Broadcast(rows[9]);
            a9 = TSimd.MultiplyAdd(x, first, a9);
            b9 = TSimd.MultiplyAdd(x, second, b9);
            x = TSimd.Broadcast(rows[10]);
            a10 = TSimd.MultiplyAdd(x, first, a10);
            b10 = TSimd.MultiplyAdd(x, second, b10);
            x = TSimd.Broadcast(rows[11]);
            a11 = TSimd.MultiplyAdd(x, first, a11);
            b11 = TSimd.MultiplyAdd(x, second, b11);
            rows += 12;
        }
        Store(target, a0, b0, accumulate);
        Store(target + stride, a1, b1, accumulate);
        Store(target + (2 * stride), a2, b2, accumulate);
        Store(target + (3 * stride), a3, b3, accumulate);
        Store(target + (4 * stride), a4, b4, accumulate);
        Store(target + (5 * stride), a5, b5, accumulate);
        Store(target + (6 * stride), a6, b6, accumulate);
        Store(target + (7 * stride), a7, b7, accumulate);
        Store(target + (8 * stride), a8, b8, accumulate);
        Store(target + (9 * stride), a9, b9, accumulate);
        Store(target + (10 * stride), a10, b10, accumulate);
        Store(target + (11 * stride), a11, b11, accumulate);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* target, TVector first, TVector second, bool accumulate)
    {
        if (accumulate)
        {
            first = TSimd.Add(TSimd.Load(target), first);
            second = TSimd.Add(TSimd.Load(target + TSimd.Lanes), second);
        }
        TSimd.Store(target, first);
        TSimd.Store(target + TSimd.Lanes, second);
    }
}
