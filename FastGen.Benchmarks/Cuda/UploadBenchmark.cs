using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Interop;
using FastGen.Models;
using Microsoft.Win32.SafeHandles;

namespace FastGen.Benchmarks.Cuda;

/// <summary>
/// How fast a checkpoint's weights reach the device, beside what the parts can do alone: reading the file, and copying pinned memory. The checkpoint, some GB of
/// a Llama's shape in BF16, is written to the temporary folder first, so that its pages are in the system's file cache: what is measured is not a disk.
/// </summary>
internal static class UploadBenchmark
{
    private const int Hidden = 4096, Intermediate = 14336, Vocabulary = 32000, KvColumns = 1024;
    private const int PieceBytes = 32 << 20;
    private const int Readers = 8;
    private const int Rounds = 3;

    /// <summary>Prints the rates; returns the exit code.</summary>
    public static int Run(double gigabytes)
    {
        string folder = Directory.CreateTempSubdirectory("fastgen-upload-").FullName;
        try
        {
            string file = Path.Combine(folder, "model.safetensors");
            WriteCheckpoint(folder, file, gigabytes);
            long bytes = new FileInfo(file).Length;
            double read = 0, copy = 0, load = 0;
            using (CudaDevice device = new(0))
            {
                nint pinned = device.AllocatePinned(PieceBytes), target = device.Allocate(PieceBytes, MemoryUse.Scratch);
                // Interleaved, so that a busy machine is busy for all; the best of each.
                for (int round = 0; round < Rounds; round++)
                {
                    read = Math.Max(read, bytes / Seconds(() => ReadFile(file, bytes, pinned)));
                    copy = Math.Max(copy, bytes / Seconds(() => Copy(device, pinned, target, bytes)));
                    load = Math.Max(load, bytes / Load(folder));
                }
            }
            double limit = Math.Min(read, copy), pinning = Seconds(() => Pin(4 * (16 << 20))), allocating = Seconds(() => Allocate(bytes));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"making a device and 64 MB of pinned memory takes {1e3 * pinning:F0} ms, making a backend and that many bytes on the device {1e3 * allocating:F0} ms, making either alone {1e3 * Seconds(() => Pin(16)):F0} and {1e3 * Seconds(() => Allocate(16)):F0} ms"));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"upload of {bytes / 1e9:F1} GB from the file cache: read {read / 1e9:F1} GB/s by {Readers} threads, copied from pinned memory {copy / 1e9:F1} GB/s, loaded {load / 1e9:F1} GB/s ({load / limit:P0} of the slower of the two)"));
            return 0;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static double Seconds(Action action)
    {
        long start = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    // Every reader takes a part of the file through its part of the pinned memory.
    private static void ReadFile(string file, long bytes, nint pinned)
    {
        using SafeFileHandle handle = File.OpenHandle(file);
        int room = PieceBytes / Readers;
        Parallel.For(0, Readers, new ParallelOptions { MaxDegreeOfParallelism = Readers }, reader =>
        {
            long end = bytes * (reader + 1) / Readers;
            for (long at = bytes * reader / Readers; at < end;) at += RandomAccess.Read(handle, Part(pinned + (reader * room), (int)Math.Min(room, end - at)), at);
        });
    }

    private static unsafe Span<byte> Part(nint address, int length) => new((void*)address, length);

    private static void Copy(CudaDevice device, nint pinned, nint target, long bytes)
    {
        device.MakeCurrent();
        for (long at = 0; at < bytes; at += PieceBytes) CudaDriver.Check(CudaDriver.cuMemcpyHtoDAsync_v2(target, pinned, (nuint)Math.Min(PieceBytes, bytes - at), device.Stream));
        device.Synchronize();
    }

    // Until the last weight is on the device; making a backend is no part of it.
    private static double Load(string folder)
    {
        using CudaBackend backend = new();
        Tensor one = backend.Allocate(DType.F32, 1, 1);
        float[] value = new float[1];
        return Seconds(() =>
        {
            _ = ModelLoader.Load(folder, backend);
            backend.Download(one, value);
        });
    }

    private static void Pin(long bytes)
    {
        using CudaDevice device = new(0);
        device.AllocatePinned(bytes, clear: false);
    }

    private static void Allocate(long bytes)
    {
        const int Rows = Intermediate, Columns = Hidden;
        using CudaBackend backend = new();
        for (long at = 0; at < bytes; at += 2L * Rows * Columns) backend.AllocateWeights(DType.BF16, Rows, Columns);
        backend.Download(backend.Allocate(DType.F32, 1, 1), new float[1]);
    }

    private static void WriteCheckpoint(string folder, string file, double gigabytes)
    {
        long layerBytes = 2L * ((Hidden * (2L * Hidden + 2 * KvColumns)) + (3L * Hidden * Intermediate)), fixedBytes = 4L * Vocabulary * Hidden;
        int layers = (int)Math.Max(1, ((long)(gigabytes * 1e9) - fixedBytes) / layerBytes);
        File.WriteAllText(Path.Combine(folder, "config.json"), $$"""{"architectures": ["LlamaForCausalLM"], "vocab_size": {{Vocabulary}}, "hidden_size": {{Hidden}}, "intermediate_size": {{Intermediate}}, "num_hidden_layers": {{layers}}, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 4096, "tie_word_embeddings": false}""");
        List<(string Name, int[] Shape)> tensors = [("model.embed_tokens.weight", [Vocabulary, Hidden]), ("model.norm.weight", [Hidden]), ("lm_head.weight", [Vocabulary, Hidden])];
        for (int layer = 0; layer < layers; layer++)
        {
            foreach ((string name, int[] shape) in ((string, int[])[])
            [
                ("self_attn.q_proj", [Hidden, Hidden]), ("self_attn.k_proj", [KvColumns, Hidden]), ("self_attn.v_proj", [KvColumns, Hidden]), ("self_attn.o_proj", [Hidden, Hidden]),
                ("mlp.gate_proj", [Intermediate, Hidden]), ("mlp.up_proj", [Intermediate, Hidden]), ("mlp.down_proj", [Hidden, Intermediate]), ("input_layernorm", [Hidden]), ("post_attention_layernorm", [Hidden]),
            ])
            {
                tensors.Add(($"model.layers.{layer}.{name}.weight", shape));
            }
        }
        using FileStream stream = new(file, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        long end = WriteHeader(stream, tensors);
        byte[] pattern = new byte[64 << 20];
        Random.Shared.NextBytes(pattern);
        // Small numbers: no infinities among the bits.
        Span<ushort> values = MemoryMarshal.Cast<byte, ushort>(pattern.AsSpan());
        foreach (ref ushort value in values) value = (ushort)((value & 0x80FF) | 0x3C00);
        for (long at = 0; at < end; at += pattern.Length) stream.Write(pattern, 0, (int)Math.Min(pattern.Length, end - at));
    }

    private static long WriteHeader(Stream stream, List<(string Name, int[] Shape)> tensors)
    {
        using MemoryStream header = new();
        long end = 0;
        using (Utf8JsonWriter writer = new(header))
        {
            writer.WriteStartObject();
            foreach ((string name, int[] shape) in tensors)
            {
                long begin = end;
                end += shape.Aggregate(2L, (product, size) => product * size);
                writer.WriteStartObject(name);
                writer.WriteString("dtype", "BF16");
                writer.WriteStartArray("shape");
                foreach (int size in shape) writer.WriteNumberValue(size);
                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(begin);
                writer.WriteNumberValue(end);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }
            writer.WriteEndObject();
        }
        header.Write(Encoding.ASCII.GetBytes(new string(' ', (int)((8 - (header.Length % 8)) % 8))));
        stream.Write(BitConverter.GetBytes(header.Length));
        header.WriteTo(stream);
        return end;
    }
}
