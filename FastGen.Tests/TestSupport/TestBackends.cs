using FastGen.Compute;
using FastGen.Kernels;
using FastGen.Kernels.Cpu;
using FastGen.Kernels.Reference;

namespace FastGen.Tests;

/// <summary>A backend that tests run on.</summary>
/// <param name="Name">Short name, for the names of test cases.</param>
/// <param name="Create">Makes one.</param>
/// <param name="IsSlow">True where exhaustive tests take samples.</param>
public sealed record TestBackend(string Name, Func<IBackend> Create, bool IsSlow = false)
{
    public override string ToString() => Name;
}

/// <summary>The backends that need no device.</summary>
public static class TestBackends
{
    public static IReadOnlyList<TestBackend> All { get; } =
    [
        new TestBackend("reference", () => new CheckedBackend(new ReferenceBackend()), IsSlow: true),
        new TestBackend("cpu", () => new CheckedBackend(CpuBackend.Create(threads: 2))),
    ];
}
