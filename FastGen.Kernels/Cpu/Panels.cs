using System.Runtime.CompilerServices;

namespace FastGen.Kernels.Cpu;

/// <summary>The second operand of a product's tile: two registers for each step of the summation.</summary>
internal unsafe interface IPanel<TVector>
    where TVector : unmanaged
{
    /// <summary>The two registers of step <paramref name="k"/>.</summary>
    void Load(nint k, out TVector first, out TVector second);
}

/// <summary>How packed panels are streamed from memory.</summary>
internal static class PanelStream
{
    /// <summary>Bytes that a line is asked for ahead of its use: two pages, since the processor's own prefetching stops at each.</summary>
    public const int PrefetchDistance = 8192;
}

/// <summary>A register at each step, and how many floats from it lies what is read some time later, which is asked for in passing.</summary>
internal readonly unsafe struct FloatStream<TSimd, TVector>(float* data, nint ahead)
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly float* _data = data;
    private readonly nint _ahead = ahead;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public TVector Load(nint offset)
    {
        TSimd.Prefetch(_data + offset + _ahead);
        return TSimd.Load(_data + offset);
    }
}

/// <summary>F32 values: two streams with the same distance, in floats, from step to step.</summary>
internal readonly struct FloatPanel<TSimd, TVector>(FloatStream<TSimd, TVector> first, FloatStream<TSimd, TVector> second, nint stride) : IPanel<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly FloatStream<TSimd, TVector> _first = first, _second = second;
    private readonly nint _stride = stride;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(nint k, out TVector first, out TVector second)
    {
        first = _first.Load(k * _stride);
        second = _second.Load(k * _stride);
    }
}

/// <summary>Packed F32 weights.</summary>
internal readonly unsafe struct PackedFloatPanel<TSimd, TVector>(byte* data) : IPanel<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly float* _data = (float*)data;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(nint k, out TVector first, out TVector second)
    {
        float* step = _data + (k * 2 * TSimd.Lanes);
        TSimd.Prefetch((byte*)step + PanelStream.PrefetchDistance);
        TSimd.Prefetch((byte*)(step + TSimd.Lanes) + PanelStream.PrefetchDistance);
        first = TSimd.Load(step);
        second = TSimd.Load(step + TSimd.Lanes);
    }
}

/// <summary>Packed bfloat16 weights, the two registers interleaved.</summary>
internal readonly unsafe struct PackedBFloat16Panel<TSimd, TVector>(byte* data) : IPanel<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly ushort* _data = (ushort*)data;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(nint k, out TVector first, out TVector second)
    {
        ushort* step = _data + (k * 2 * TSimd.Lanes);
        TSimd.Prefetch((byte*)step + PanelStream.PrefetchDistance);
        TSimd.WidenBFloat16(step, out first, out second);
    }
}

/// <summary>Packed half precision weights, the two registers interleaved.</summary>
internal readonly unsafe struct PackedHalfPanel<TSimd, TVector>(byte* data) : IPanel<TVector>
    where TSimd : struct, ISimd<TVector>
    where TVector : unmanaged
{
    private readonly ushort* _data = (ushort*)data;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Load(nint k, out TVector first, out TVector second)
    {
        ushort* step = _data + (k * 2 * TSimd.Lanes);
        TSimd.Prefetch((byte*)step + PanelStream.PrefetchDistance);
        TSimd.WidenHalf(step, out first, out second);
    }
}
