namespace FastGen.Kernels.Cpu;

/// <summary>An operation's work, split by <see cref="WorkerPool"/>. It lies on the caller's stack while it runs.</summary>
internal interface IParallelWork
{
    /// <summary>Does the share of <paramref name="worker"/>, of <paramref name="workers"/> in all.</summary>
    void Run(int worker, int workers);
}
