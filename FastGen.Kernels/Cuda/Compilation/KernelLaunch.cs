namespace FastGen.Kernels.Cuda.Compilation;

/// <summary>What a module is compiled from: a source and its constants.</summary>
internal readonly record struct KernelCode(string Source, KernelConstants Constants)
{
    public override string ToString() => $"{Source} {string.Join(' ', Constants.Defines())}";
}

/// <summary>One launch of a kernel, without its arguments.</summary>
/// <param name="Code">Where the kernel comes from.</param>
/// <param name="Kernel">Its name there.</param>
/// <param name="Grid">CTAs.</param>
/// <param name="Threads">Of a CTA.</param>
/// <param name="SharedBytes">Dynamic shared memory of a CTA.</param>
/// <param name="Cluster">CTAs of a cluster, along x or y.</param>
/// <param name="ClusterAlongY">Which.</param>
/// <param name="Beside">Whether on the side stream.</param>
internal readonly record struct KernelLaunch(KernelCode Code, string Kernel, (int X, int Y, int Z) Grid, int Threads, int SharedBytes, int Cluster, bool ClusterAlongY, bool Beside = false);
