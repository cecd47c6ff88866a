using System.Globalization;
using System.Numerics;
using FastGen.Compute;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;
using FastGen.Kernels.Cuda.Products;
using FastGen.Kernels.Cuda.Steps;

namespace FastGen.Kernels.Cuda;

/// <summary>
/// An NVIDIA GPU of compute capability 8.0 or more, through the driver API, NVRTC and cuBLASLt alone. Products of F16 and BF16 weights take
/// operands of that type and add up in F32; products of F32 weights are plain F32 throughout. The residual stream is F32.
/// </summary>
public sealed unsafe partial class CudaBackend : IBackend
{
    private const int LargestTokenBudget = 8192, LargestSplitGroup = 16;

    // Activations and scratch of a token in the largest step: what the widest of models that fit a device take, and as much again for what grows with the first steps.
    private const long StepBytesPerToken = 512 << 10;

    // Left free beside the cache: for the recordings of decodes, modules that load late, what the driver rounds up, and other programs.
    private const long LeastReserve = 1L << 30;
    private const int ReserveShare = 32;

    private readonly CudaDevice _device;
    private readonly CudaDeviceInfo _info;
    private readonly CudaOptions _options;
    private readonly KernelLibrary _kernels;
    private readonly CudaScratch _scratch;
    private readonly Transfers _transfers;
    private readonly LinearProducts _products;
    private readonly ExpertProducts _experts;
    private readonly StepGraphs _graphs;
    private bool _disposed;

    /// <summary>Takes device <paramref name="index"/>.</summary>
    /// <exception cref="CudaException">CUDA cannot be used here; the message holds the whole probe.</exception>
    public CudaBackend(int index = 0, CudaOptions? options = null)
        : this(Open(index, options ??= new CudaOptions()), options)
    {
    }

    internal CudaBackend(CudaParts parts, CudaOptions options)
    {
        _options = options;
        SharesAttention = options.SharesAttention;
        (_device, _info, _kernels) = (parts.Device, parts.Info, parts.Kernels);
        _scratch = new CudaScratch(_device);
        _transfers = new Transfers(_device, _kernels, _scratch);
        _products = new LinearProducts(_device, _kernels, _scratch, parts.Choices, _options);
        _experts = new ExpertProducts(_device, _kernels, _scratch, _products, _options.ExpertKernel);
        _graphs = new StepGraphs(_device);
        _cacheMaps = new TensorMaps(_device, TensorMap.Promotion256);
    }

    /// <inheritdoc/>
    public string Description => string.Create(CultureInfo.InvariantCulture, $"{_info.Name} (CUDA device {_info.Index}, compute capability {_info.ComputeCapability}, {_info.MemoryBytes / (1L << 30)} GiB)");

    /// <inheritdoc/>
    /// <remarks>
    /// What is free, less a reserve for what is taken after that: a 32nd of the device, at least 1 GiB, and what the first requests with penalties and with log
    /// probabilities take. Where less than twice the reserve is free, half of that.
    /// </remarks>
    public long DefaultCacheBytes
    {
        get
        {
            _device.MakeCurrent();
            (long free, long total) = _device.Room();
            return Math.Max(free - ReserveBytes(total) - (_steps?.LaterBytes ?? 0), free / 2);
        }
    }

    /// <inheritdoc/>
    public int TokenBudgetLimit => TokenBudgetOf(_info.MemoryBytes);

    /// <inheritdoc/>
    public bool CompilesSteps => true;

    /// <summary>What the cache leaves free of a device for what is taken after it.</summary>
    internal static long ReserveBytes(long deviceBytes) => Math.Max(LeastReserve, deviceBytes / ReserveShare);

    /// <summary>What activations and scratch of the largest step may take of a device.</summary>
    internal static long LargestStepBytes(long deviceBytes) => Math.Max(2L << 30, deviceBytes / 12);

    /// <summary>The largest power of two of tokens whose step takes no more than it may.</summary>
    internal static int TokenBudgetOf(long deviceBytes) => Math.Min(LargestTokenBudget, 1 << BitOperations.Log2((ulong)(LargestStepBytes(deviceBytes) / StepBytesPerToken)));

    /// <summary>Looks for CUDA's libraries and devices; allocates nothing.</summary>
    public static CudaProbe Probe(CudaOptions? options = null) => CudaProbe.Run(options);

    /// <inheritdoc/>
    public Precision PrecisionFor(DType weights) => new(DType.F32, weights, DType.F32, weights);

    /// <inheritdoc/>
    public Tensor AllocateWeights(DType type, int rows, int columns) => Allocate(type, rows, columns, MemoryUse.Weights);

    /// <inheritdoc/>
    public Tensor Allocate(DType type, int rows, int columns) => Allocate(type, rows, columns, MemoryUse.Activations);

    /// <inheritdoc/>
    public KvLayer AllocateKvLayer(DType type, int blocks, int blockSize, int kvHeads, int headDim) =>
        new(Allocate(type, blocks, 2 * kvHeads * blockSize * headDim, MemoryUse.Cache), blockSize, kvHeads, headDim);

    /// <inheritdoc/>
    public void FreeKvLayer(KvLayer layer)
    {
        _device.MakeCurrent();
        // Recorded steps name its address.
        ForgetRecordings();
        _device.Free(layer.Storage.Data);
    }

    /// <inheritdoc/>
    public void Upload(ReadOnlySpan<byte> source, DType sourceType, Tensor target, int firstRow = 0)
    {
        long rowBytes = (long)target.Columns * sourceType.Size();
        if (source.Length % rowBytes != 0 || firstRow < 0 || firstRow + (source.Length / rowBytes) > target.Rows)
        {
            throw new ArgumentException($"{source.Length} bytes of {sourceType} are not whole rows of {target.Columns} columns that fit {target.Rows} rows from row {firstRow} on.", nameof(source));
        }
        _device.MakeCurrent();
        _transfers.Upload(source, sourceType, target.Data + (nint)((long)firstRow * target.Columns * target.Type.Size()), target.Type);
    }

    /// <summary>Copies bytes of one matrix over rows of another: large random weights are made on the device, for measurements.</summary>
    internal void CopyOnDevice(Tensor source, long offset, Tensor target, int firstRow, long bytes)
    {
        _device.MakeCurrent();
        _transfers.CopyOnDevice(source.Data + (nint)offset, target.Data + (nint)((long)firstRow * target.Columns * target.Type.Size()), bytes);
    }

    /// <inheritdoc/>
    public Memory<byte> UploadBuffer(int bytes)
    {
        _device.MakeCurrent();
        return _transfers.Buffer(bytes);
    }

    /// <inheritdoc/>
    public void Download(Tensor source, Span<float> target)
    {
        if (target.Length < (long)source.Rows * source.Columns) throw new ArgumentException($"{source.Rows} × {source.Columns} values do not fit {target.Length}.", nameof(target));
        _device.MakeCurrent();
        _transfers.Download(source, target);
    }

    /// <inheritdoc/>
    public void Prepare(ModelShape shape, StepLimits limits)
    {
        ArgumentNullException.ThrowIfNull(shape);
        ArgumentNullException.ThrowIfNull(limits);
        _device.MakeCurrent();
        if (_steps is not null) _device.Synchronize();
        _graphs.Clear();
        _steps?.Dispose();
        _steps = null;
        // The weights are there.
        _transfers.Release();
        // A token's attention must not depend on how many came with it: one kernel for all, and one whose masked and full tiles round alike.
        bool deterministic = _options.Deterministic;
        _tiling = !deterministic && _kernels.UsesHopperInstructions && shape.WeightType != DType.F32 ? AttentionTiling.ForHopper(shape.HeadDim) : default;
        _splitting = new AttentionSplitting(_device.Multiprocessors, _device.SharedBytesPerBlock, _kernels.UsesHopperInstructions, shape.KvHeads, shape.Heads / shape.KvHeads, shape.HeadDim);
        _steps = new StepState(_device, _kernels, shape, limits, splitSingles: !deterministic && shape.Heads / shape.KvHeads <= LargestSplitGroup, _tiling.Rows) { MetadataMoves = ForgetRecordings };
        DType activation = PrecisionFor(shape.WeightType).Activation;
        int widest = Math.Max(shape.HiddenSize, Math.Max(shape.MlpColumns, shape.Heads * shape.HeadDim));
        _ = _scratch.Matrix(ScratchUse.Normed, activation, limits.Tokens, widest);
        _ = _scratch.Matrix(ScratchUse.Gated, activation, limits.Tokens, 2 * shape.MlpColumns);
        _products.Prepare(shape.HiddenSize);
        _device.Synchronize();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        // Work may still be queued; nothing is freed under it. A lost device answers every call with its error.
        _device.Settle();
        _graphs.Dispose();
        _steps?.Dispose();
        _transfers.Dispose();
        _products.Dispose();
        _kernels.Dispose();
        _device.Dispose();
    }

    private static CudaParts Open(int index, CudaOptions options)
    {
        CudaProbe probe = Probe(options);
        if (!probe.IsUsable) throw new CudaException(probe.ToString());
        CudaDeviceInfo info = probe.Devices.FirstOrDefault(device => device.Index == index) ?? throw new CudaException($"There is no device {index}.\n{probe}");
        if (!info.IsSupported) throw new CudaException($"Device {index} is too old for these kernels.\n{probe}");
        CudaDevice device = new(index, options.MemoryLimit);
        try
        {
            KernelCache cache = new(options.KernelCacheFolder is { Length: > 0 } folder ? folder : KernelCache.DefaultFolder);
            KernelLibrary kernels = new(device, new KernelCompiler(device.Capability, cache, options.UseHopperInstructions));
            return new CudaParts(device, info, kernels, ProductChoices.For(cache, device, info.Name));
        }
        catch
        {
            device.Dispose();
            throw;
        }
    }

    private Tensor Allocate(DType type, int rows, int columns, MemoryUse use)
    {
        _device.MakeCurrent();
        // Kernels may read a vector's width past the last row.
        return new Tensor(_device.Allocate(((long)rows * columns * type.Size()) + 256, use), type, rows, columns);
    }
}

/// <summary>What a backend is put together from.</summary>
/// <param name="Device">Disposed with it.</param>
/// <param name="Info">The device as listed.</param>
/// <param name="Kernels">Disposed with it.</param>
/// <param name="Choices">Of cuBLASLt's algorithms.</param>
internal readonly record struct CudaParts(CudaDevice Device, CudaDeviceInfo Info, KernelLibrary Kernels, ProductChoices Choices);
