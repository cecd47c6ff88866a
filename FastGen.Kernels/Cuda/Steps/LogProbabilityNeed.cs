namespace FastGen.Kernels.Cuda.Steps;

/// <summary>Which log probabilities a step has to give.</summary>
internal enum LogProbabilityNeed
{
    /// <summary>None.</summary>
    None,

    /// <summary>Of logits that the draw leaves as they are.</summary>
    OfLogits,

    /// <summary>Also of rows whose logits penalties or suppressed tokens change before the draw: these are kept.</summary>
    OfChangedLogits,
}
