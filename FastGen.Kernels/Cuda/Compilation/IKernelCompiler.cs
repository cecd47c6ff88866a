namespace FastGen.Kernels.Cuda.Compilation;

/// <summary>Compiles kernels for one kind of device.</summary>
internal interface IKernelCompiler
{
    /// <summary>Whether kernels may use wgmma and bulk copies.</summary>
    bool UsesHopperInstructions { get; }

    /// <summary>The image of a source with its constants, for cuModuleLoadData. Any number of threads may call.</summary>
    byte[] Compile(KernelCode code);
}
