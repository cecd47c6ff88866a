using FastGen.Kernels.Cuda.Products;
using FastGen.Kernels.Cuda.Steps;

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

    /// <summary>Rows up to which products have own kernels on Hopper, at most 128; more go to cuBLASLt.</summary>
    internal int SkinnyRows { get; init; } = 64;

    /// <summary>How the attention of prompts is cut on Hopper, instead of what suits the heads.</summary>
    internal AttentionTiling? AttentionTiling { get; init; }

    /// <summary>Whether warpgroups take turns in the attention of prompts.</summary>
    internal bool AttentionTurns { get; init; } = true;

    /// <summary>How products of many rows run, whatever the time: by this tile, or by cuBLASLt if it is empty.</summary>
    internal GemmTile? ForcedGemm { get; set; }
}
