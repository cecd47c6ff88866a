using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Models;

/// <summary>Whether stored values can be held as F16, whose largest is 65,504.</summary>
internal static class HalfRange
{
    // The least magnitude that rounding to F16 makes infinite.
    private const float Beyond = 65520;

    /// <summary>Refuses bytes of a tensor that hold a value which F16 does not reach. NaN is left as it is.</summary>
    /// <exception cref="ModelLoadException">There is one; the message names the tensor, the value and the remedy.</exception>
    public static void Check(ReadOnlySpan<byte> values, DType type, StoredTensor tensor)
    {
        switch (type)
        {
            case DType.F32:
                ReadOnlySpan<uint> words = MemoryMarshal.Cast<byte, uint>(values);
                if (!Reaches(words, BitConverter.SingleToUInt32Bits(Beyond), (uint)int.MaxValue)) return;
                foreach (uint bits in words) Check(BitConverter.UInt32BitsToSingle(bits), type, tensor);
                break;
            case DType.BF16:
                ReadOnlySpan<ushort> halves = MemoryMarshal.Cast<byte, ushort>(values);
                // BF16 has no value from Beyond to the first whose upper half is greater.
                if (!Reaches(halves, (ushort)((BitConverter.SingleToUInt32Bits(Beyond) >> 16) + 1), (ushort)short.MaxValue)) return;
                foreach (ushort bits in halves) Check(BitConverter.UInt32BitsToSingle((uint)bits << 16), type, tensor);
                break;
        }
    }

    // True if some bits without the sign, which are ordered as magnitudes are, are at least the limit's; so are those of NaN.
    private static bool Reaches<T>(ReadOnlySpan<T> bits, T limit, T withoutSign)
        where T : unmanaged, IBinaryInteger<T>
    {
        ReadOnlySpan<Vector<T>> vectors = MemoryMarshal.Cast<T, Vector<T>>(bits);
        Vector<T> mask = new(withoutSign), largest = Vector<T>.Zero;
        foreach (Vector<T> vector in vectors) largest = Vector.Max(largest, vector & mask);
        if (Vector.GreaterThanOrEqualAny(largest, new Vector<T>(limit))) return true;
        foreach (T rest in bits[(vectors.Length * Vector<T>.Count)..])
        {
            if ((rest & withoutSign) >= limit) return true;
        }
        return false;
    }

    private static void Check(float value, DType type, StoredTensor tensor)
    {
        if (!(MathF.Abs(value) >= Beyond)) return;
        string number = value.ToString(CultureInfo.InvariantCulture);
        throw new ModelLoadException($"{tensor.File}: tensor '{tensor.Name}' holds {number}, which F16 does not reach (±65504); load the model as {type}, as it is stored, or as F32: PipelineOptions.DType, ModelLoadOptions.WeightType.");
    }
}
