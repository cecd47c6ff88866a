namespace FastGen.Kernels.Cuda.Compilation;

/// <summary>How a second product shares a kernel with the first; numbered as in common.cuh.</summary>
internal enum SecondKind
{
    /// <summary>There is none.</summary>
    None,

    /// <summary>Of the same input, with an output of its own and the activation after it.</summary>
    Beside,

    /// <summary>Of another input, added to the same output.</summary>
    Joined,
}
