using FastGen.Compute;
using FastGen.Kernels;
using FastGen.Kernels.Cpu;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Reference;

namespace FastGen.Tests;

/// <summary>A backend that tests run on.</summary>
/// <param name="Name">Short name, for the names of test cases.</param>
/// <param name="Create">Makes one.</param>
/// <param name="IsSlow">True where exhaustive tests take samples.</param>
/// <param name="IsExact">True where a row's results are the same bits however its step is made up.</param>
public sealed record TestBackend(string Name, Func<IBackend> Create, bool IsSlow = false, bool IsExact = true)
{
    public override string ToString() => Name;
}

/// <summary>The backends that there are.</summary>
public static class TestBackends
{
    /// <summary>On a GPU; creating it skips the running test where there is none.</summary>
    public static TestBackend Cuda { get; } = new("cuda", () => CreateCuda(new CudaOptions()), IsExact: false);

    /// <summary>On a GPU, with kernels that do not depend on a step's make-up.</summary>
    public static TestBackend CudaDeterministic { get; } = new("cuda deterministic", () => CreateCuda(new CudaOptions { Deterministic = true }));

    /// <summary>The backends that need no device.</summary>
    public static IReadOnlyList<TestBackend> All { get; } =
    [
        new TestBackend("reference", () => new CheckedBackend(new ReferenceBackend()), IsSlow: true),
        new TestBackend("cpu", () => new CheckedBackend(CpuBackend.Create(threads: 2))),
    ];

    private static CudaBackend CreateCuda(CudaOptions options)
    {
        CudaProbe probe = CudaBackend.Probe();
        if (!probe.IsUsable) Assert.Ignore(probe.Failure!);
        return new CudaBackend(options: options);
    }
}
