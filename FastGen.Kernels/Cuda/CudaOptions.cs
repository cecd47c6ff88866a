using FastGen.Kernels.Cuda.Products;

namespace FastGen.Kernels.Cuda;

/// <summary>Where CUDA's libraries and compiled kernels are, and how steps run. The defaults suit most programs.</summary>
public sealed record CudaOptions
{
    /// <summary>A folder that holds CUDA's libraries (NVRTC and cuBLASLt), looked at before all others; null, the default, for none.</summary>
    public string? LibraryFolder { get; init; }

    /// <summary>Where compiled kernels are kept between runs; null, the default, for a folder of the user's local application data.</summary>
    public string? KernelCacheFolder { get; init; }

    /// <summary>Whether decode steps are recorded and replayed as CUDA graphs; true by default.</summary>
    public bool UseGraphs { get; init; } = true;

    /// <summary>Whether instructions of compute capability 9.0 (wgmma, bulk copies) are used where the device has them; true by default.</summary>
    public bool UseHopperInstructions { get; init; } = true;

    /// <summary>
    /// Whether a row's results are the same bits whatever shares its step: alone or in a batch, in one prompt chunk or many, restarted, recorded or not. Each weight
    /// matrix then has one kernel at every number of rows and all attention goes through the prompts' kernel, so that steps take longer: default false.
    /// The bits still differ between devices of other kinds, versions of CUDA and of this library.
    /// </summary>
    public bool Deterministic { get; init; }

    /// <summary>Bytes that may be taken on the device; null for all that it has.</summary>
    internal long? MemoryLimit { get; init; }

    /// <summary>Rows up to which products go to the kernel that streams whole rows of the weights on Hopper, at most 8; 0 for none.</summary>
    internal int FewRows { get; init; } = 8;

    /// <summary>Rows up to which products go to the kernels of decodes on Hopper, at most 128.</summary>
    internal int SkinnyRows { get; init; } = 128;

    /// <summary>
    /// The share of tiles and waves that a product has to fill for the kernel of many rows on Hopper to be taken instead of cuBLASLt, whose smaller tiles are ahead below
    /// it. 0 takes it for every product that it can compute, 2 for none.
    /// </summary>
    internal double LeastTileUse { get; init; } = 0.85;

    /// <summary>
    /// Whether the attention of decodes runs beside that of prompts in steps that have both: null where it is expected to save time, true wherever it can, false nowhere.
    /// </summary>
    internal bool? SharesAttention { get; init; }

    /// <summary>The kernel for products of experts, where it serves; null for the one that suits the number of rows.</summary>
    internal ExpertKernel? ExpertKernel { get; init; }
}
