using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using FastGen.Compute;

namespace FastGen.Kernels;

/// <summary>Conversions between the storage types.</summary>
internal static class StoredValues
{
    /// <summary>Reads stored values as F32.</summary>
    public static void Widen(ReadOnlySpan<byte> source, DType type, Span<float> target)
    {
        switch (type)
        {
            case DType.F32:
                MemoryMarshal.Cast<byte, float>(source)[..target.Length].CopyTo(target);
                break;
            case DType.F16:
                TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(source)[..target.Length], target);
                break;
            case DType.BF16:
                ReadOnlySpan<ushort> halves = MemoryMarshal.Cast<byte, ushort>(source);
                for (int i = 0; i < target.Length; i++) target[i] = BitConverter.UInt32BitsToSingle((uint)halves[i] << 16);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Not a storage type.");
        }
    }

    /// <summary>Stores F32 values, rounded to the nearest, ties to even.</summary>
    public static void Narrow(ReadOnlySpan<float> source, DType type, Span<byte> target)
    {
        switch (type)
        {
            case DType.F32:
                source.CopyTo(MemoryMarshal.Cast<byte, float>(target));
                break;
            case DType.F16:
                TensorPrimitives.ConvertToHalf(source, MemoryMarshal.Cast<byte, Half>(target));
                break;
            case DType.BF16:
                Span<ushort> halves = MemoryMarshal.Cast<byte, ushort>(target);
                for (int i = 0; i < source.Length; i++) halves[i] = ToBFloat16(source[i]);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Not a storage type.");
        }
    }

    /// <summary>Copies values from one storage type to another.</summary>
    public static void Convert(ReadOnlySpan<byte> source, DType sourceType, Span<byte> target, DType targetType)
    {
        if (sourceType == targetType)
        {
            source.CopyTo(target);
            return;
        }
        const int Chunk = 512;
        Span<float> values = stackalloc float[Chunk];
        int count = source.Length / sourceType.Size();
        for (int start = 0; start < count; start += Chunk)
        {
            Span<float> chunk = values[..Math.Min(Chunk, count - start)];
            Widen(source[(start * sourceType.Size())..], sourceType, chunk);
            Narrow(chunk, targetType, target[(start * targetType.Size())..]);
        }
    }

    private static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        if (float.IsNaN(value)) return (ushort)((bits >> 16) | 0x40);
        return (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}
