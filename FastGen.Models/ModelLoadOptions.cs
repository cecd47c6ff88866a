using FastGen.Compute;
using Microsoft.Extensions.Logging;

namespace FastGen.Models;

/// <summary>How a model is loaded.</summary>
public sealed record ModelLoadOptions
{
    /// <summary>
    /// Storage of the weights once loaded; null, the default, keeps the type that most of them have in the files. Values are rounded to the nearest; those beyond the range of
    /// F16 (±65,504) are refused by name of the tensor.
    /// </summary>
    public DType? WeightType { get; init; }

    /// <summary>Told after every chunk that was loaded, on the loading thread; null for nobody.</summary>
    public IProgress<LoadProgress>? Progress { get; init; }

    /// <summary>Receives warnings; null for nobody.</summary>
    public ILogger? Logger { get; init; }

    /// <summary>Takes the first layers of a checkpoint that has more, to look at what they give.</summary>
    internal bool LeavesLayersOut { get; init; }
}
