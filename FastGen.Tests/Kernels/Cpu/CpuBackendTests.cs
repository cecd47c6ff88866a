using FastGen.Compute;

namespace FastGen.Tests.Kernels;

[TestFixture(512, 1)]
[TestFixture(512, 3)]
[TestFixture(256, 2)]
[TestFixture(128, 2)]
public sealed class CpuBackendTests(int bits, int threads) : BackendContract
{
    protected override float Tolerance => 3e-6f;

    protected override IBackend CreateBackend() => CpuBackends.Create(bits, threads);
}
