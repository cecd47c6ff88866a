using System.Runtime.InteropServices;
using FastGen.Benchmarks.Serving;
using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Models;
using FastGen.Tests;

namespace FastGen.Benchmarks.Cuda;

/// <summary>Models of a published shape whose large matrices are filled with random values on the device, by copies of one block: seconds even for Mixtral's 93 GB.</summary>
internal static class DeviceFilledModel
{
    private const int PatternValues = 48 << 20;
    private const long Step = 7_340_033 * 16L;
    private const float Spread = 0.04f;

    /// <summary>A model of <see cref="ModelShapes"/>, wired by its family's own layers.</summary>
    /// <param name="backend">Where its weights are.</param>
    /// <param name="shape">Its name.</param>
    /// <param name="observed">What the model computes by, around <paramref name="backend"/>; null for one of its own.</param>
    public static CausalLM Load(CudaBackend backend, string shape, ObservedBackend? observed = null)
    {
        Tensor pattern = Pattern(backend);
        long copies = 0;
        using UnreadCheckpoint checkpoint = new(DType.BF16, Spread);
        observed ??= new ObservedBackend(backend);
        observed.Uploading = Fill;
        CausalLM model = ModelLoader.Load(ModelConfig.Parse(ModelShapes.Config(shape)), checkpoint, observed, new ModelLoadOptions());
        observed.Uploading = null;
        return model;

        bool Fill(int bytes, Tensor target, int firstRow)
        {
            if (target.Type != DType.BF16 || target.Bytes < UnreadCheckpoint.LargeBytes) return false;
            backend.CopyOnDevice(pattern, ++copies * Step % (pattern.Bytes - bytes) / 16 * 16, target, firstRow, bytes);
            return true;
        }
    }

    private static Tensor Pattern(CudaBackend backend)
    {
        const int Columns = 1 << 14;
        ushort[] values = new ushort[PatternValues];
        Random random = new(1);
        for (int i = 0; i < values.Length; i++) values[i] = (ushort)(BitConverter.SingleToUInt32Bits(((2 * random.NextSingle()) - 1) * Spread) >> 16);
        Tensor pattern = backend.Allocate(DType.BF16, PatternValues / Columns, Columns);
        backend.Upload(MemoryMarshal.AsBytes<ushort>(values), DType.BF16, pattern);
        return pattern;
    }
}
