using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Products;

namespace FastGen.Tests;

/// <summary>Which norms are divided among products, by what would be launched: no device needed.</summary>
public sealed class DividedNormsTests
{
    private const int Hidden = 1024, Mlp = 2048;

    [TestCase(9)]
    [TestCase(64)]
    [TestCase(33)]
    public void Linear_SameOperationsAgain_HaveNoNormOfTheirOwn(int rows)
    {
        int[] norms = NormsByTurn(DType.BF16, rows, new CudaOptions(), static _ => { });

        // The first norm of a turn follows nothing the first time, and in the second is seen to follow the last product.
        Assert.That(norms, Is.EqualTo([2, 1, 0, 0]));
    }

    [TestCase(1, DType.BF16, false)]
    [TestCase(65, DType.BF16, false)]
    [TestCase(129, DType.BF16, false)]
    [TestCase(64, DType.F16, false)]
    [TestCase(64, DType.F32, false)]
    [TestCase(64, DType.BF16, true)]
    public void Linear_WhereTheyAreNotDivided_EveryTurnIsAsTheFirst(int rows, DType type, bool deterministic)
    {
        int[] norms = NormsByTurn(type, rows, new CudaOptions { Deterministic = deterministic }, static _ => { });

        Assert.That(norms, Is.All.EqualTo(norms[0]));
    }

    [Test]
    public void Linear_AnythingQueuedBetween_TakesNothing()
    {
        int[] norms = NormsByTurn(DType.BF16, 64, new CudaOptions(), static products => products.Norm(Rows(64, Hidden), Rows(64, Hidden), Norm(1)));

        // The norm between is counted too.
        Assert.That(norms, Is.EqualTo([4, 4, 4, 4]));
    }

    [Test]
    public void Linear_WeightsOfAnotherTypeBehind_TakeNothing()
    {
        // What lies between is in the type of the weights before.
        int[] norms = NormsByTurn(DType.BF16, 64, new CudaOptions(), static _ => { }, behind: DType.F16);

        Assert.That(norms, Is.EqualTo([2, 2, 2, 2]));
    }

    // h += mlp · down; norm(h) · up; h += mlp · out; norm(h) · gate and up.
    private static int[] NormsByTurn(DType type, int rows, CudaOptions options, Action<LinearProducts> between, DType? behind = null)
    {
        ImaginedDevice device = ImaginedDevice.Of("H200");
        using LinearProducts products = new(device, device.Kernels(), new CudaScratch(device), new ProductChoices(new KernelCache(Path.GetTempPath()), "H200"), options);
        DType normed = behind ?? type;
        Tensor stream = Rows(rows, Hidden), mlp = new(1 << 21, type, rows, Mlp);
        return [.. Enumerable.Range(0, 4).Select(_ => device.Rehearse(Turn).Count(launch => launch.Kernel == "norm_rows"))];

        void Turn()
        {
            products.Linear(mlp, new LinearInput(stream, Norm(1)), new LinearWeights(Weight(1, normed, Mlp, Hidden)), Activation.None, accumulate: false);
            products.Linear(stream, new LinearInput(mlp), new LinearWeights(Weight(2, type, Hidden, Mlp)), Activation.None, accumulate: true);
            between(products);
            products.Gated(mlp, new LinearInput(stream, Norm(2)), new LinearWeights(Weight(3, normed, 2 * Mlp, Hidden)), Activation.Silu);
            products.Linear(stream, new LinearInput(mlp), new LinearWeights(Weight(4, type, Hidden, Mlp)), Activation.None, accumulate: true);
            between(products);
        }
    }

    private static Tensor Weight(int number, DType type, int outputs, int inputs) => new(number << 24, type, outputs, inputs);

    private static Tensor Rows(int rows, int columns) => new(1 << 22, DType.F32, rows, columns);

    private static NormWeights Norm(int number) => new(NormKind.Rms, new Tensor(number << 10, DType.F32, 1, Hidden), null, 1e-5f);
}
