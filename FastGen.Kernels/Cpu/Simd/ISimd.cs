namespace FastGen.Kernels.Cpu;

/// <summary>The vector instructions that the kernels are written in; one implementation for each width.</summary>
/// <typeparam name="TVector">A register of F32 lanes.</typeparam>
internal unsafe interface ISimd<TVector>
    where TVector : unmanaged
{
    /// <summary>F32 values in a register.</summary>
    static abstract int Lanes { get; }

    /// <summary>Most rows of a product's tile: with two registers each, they leave room for the operands.</summary>
    static abstract int TileRows { get; }

    static abstract TVector Zero { get; }

    /// <summary>0, 1, 2, …</summary>
    static abstract TVector Indices { get; }

    static abstract TVector Load(float* source);

    static abstract void Store(float* target, TVector value);

    static abstract TVector Broadcast(float value);

    static abstract TVector Add(TVector left, TVector right);

    static abstract TVector Subtract(TVector left, TVector right);

    static abstract TVector Multiply(TVector left, TVector right);

    static abstract TVector Divide(TVector left, TVector right);

    /// <summary>left · right + addend</summary>
    static abstract TVector MultiplyAdd(TVector left, TVector right, TVector addend);

    /// <summary>The larger of each pair, and <paramref name="right"/> where either is NaN or they are equal.</summary>
    static abstract TVector Max(TVector left, TVector right);

    /// <summary>Whole lanes of <paramref name="whenTrue"/> where left &lt; right, of <paramref name="whenFalse"/> elsewhere.</summary>
    static abstract TVector SelectLess(TVector left, TVector right, TVector whenTrue, TVector whenFalse);

    static abstract TVector Abs(TVector value);

    /// <summary><paramref name="value"/> · 2ⁿ, where n stands in the low bits of <paramref name="shifted"/>'s mantissa.</summary>
    static abstract TVector ScaleByPower(TVector value, TVector shifted);

    /// <summary>The sum of all lanes, halves first.</summary>
    static abstract float Sum(TVector value);

    /// <summary>The largest lane.</summary>
    static abstract float Largest(TVector value);

    /// <summary>The lowest lane.</summary>
    static abstract float First(TVector value);

    /// <summary>Widens two registers of bfloat16 that lie interleaved: the low half of each 32-bit word belongs to the first.</summary>
    static abstract void WidenBFloat16(ushort* source, out TVector first, out TVector second);

    /// <summary>Widens two registers of half precision values that lie interleaved: the low half of each 32-bit word belongs to the first.</summary>
    static abstract void WidenHalf(ushort* source, out TVector first, out TVector second);

    /// <summary>Asks for the cache line at <paramref name="address"/>.</summary>
    static abstract void Prefetch(void* address);
}
