namespace FastGen.Kernels.Cuda;

/// <summary>What device memory is taken for.</summary>
internal enum MemoryUse
{
    /// <summary>Weight matrices.</summary>
    Weights,

    /// <summary>Keys and values.</summary>
    Cache,

    /// <summary>Activations, vectors, tables and the state of slots.</summary>
    Activations,

    /// <summary>What operations need between their kernels; grows with the first step of a shape.</summary>
    Scratch,
}
