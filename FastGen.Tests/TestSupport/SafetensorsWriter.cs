using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace FastGen.Tests;

/// <summary>Writes safetensors files for tests, sound ones and, through the raw header, broken ones.</summary>
public static class SafetensorsWriter
{
    /// <summary>Writes F32 tensors one after the other.</summary>
    public static void Write(string path, params IReadOnlyList<(string Name, int[] Shape, float[] Values)> tensors)
    {
        StringBuilder header = new("{\"__metadata__\":{\"format\":\"pt\"}");
        int offset = 0;
        foreach ((string name, int[] shape, float[] values) in tensors)
        {
            int end = offset + (values.Length * sizeof(float));
            header.Append(CultureInfo.InvariantCulture, $",\"{name}\":{{\"dtype\":\"F32\",\"shape\":[{string.Join(",", shape)}],\"data_offsets\":[{offset},{end}]}}");
            offset = end;
        }
        WriteRaw(path, header.Append('}').ToString(), [.. tensors.SelectMany(tensor => MemoryMarshal.AsBytes(tensor.Values.AsSpan()).ToArray())]);
    }

    /// <summary>Writes any header and any data.</summary>
    public static void WriteRaw(string path, string header, byte[] data, long? headerLength = null)
    {
        byte[] json = Encoding.UTF8.GetBytes(header), length = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(length, headerLength ?? json.Length);
        File.WriteAllBytes(path, [.. length, .. json, .. data]);
    }
}
