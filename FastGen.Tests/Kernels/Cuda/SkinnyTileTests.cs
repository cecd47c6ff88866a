using FastGen.Kernels.Cuda.Products;

namespace FastGen.Tests;

public sealed class SkinnyTileTests
{
    private const int SharedBytes = 227 << 10;

    private static readonly int[] Sizes = [8, 72, 520, 1024, 2560, 4096, 4544, 10240, 14336, 28672, 50304, 128256];

    [Test]
    public void For_AnyProduct_FitsAMultiprocessor([Values(8, 16, 32, 64, 128)] int rows, [Values] bool gated, [Values(132, 114, 78)] int multiprocessors)
    {
        foreach (int outputs in Sizes)
        {
            foreach (int columns in Sizes.Where(size => size >= 128))
            {
                SkinnyTile tile = SkinnyTile.For(new ProductSize(outputs, columns, gated), moreOutputs: 0, rows, multiprocessors, SharedBytes);

                Assert.That(tile.SharedBytes(rows), Is.LessThanOrEqualTo(SharedBytes), $"{outputs} outputs of {columns} columns");
                Assert.That(tile.Stages, Is.GreaterThanOrEqualTo(2));
                Assert.That(tile.Rows % (gated ? 16 : 8), Is.Zero);
            }
        }
    }

    // Phi-2's queries, keys and values beside the first half of its MLP, and sizes at random.
    [Test]
    public void For_TwoProducts_NeedNoMoreRoundsThanOne([Values(8, 16, 32, 64, 128)] int rows, [Values(132, 114, 78)] int multiprocessors)
    {
        Random random = new(1);
        foreach ((int first, int second) in (IEnumerable<(int, int)>)[(7680, 10240), .. Enumerable.Range(0, 200).Select(_ => (8 * random.Next(1, 2500), 8 * random.Next(1, 2500)))])
        {
            SkinnyTile tile = SkinnyTile.For(new ProductSize(first + second, 2560, Gated: false), second, rows, multiprocessors, SharedBytes);

            int tiles = ((first + tile.Rows - 1) / tile.Rows) + ((second + tile.Rows - 1) / tile.Rows), most = (first + second + (multiprocessors * tile.Rows) - 1) / (multiprocessors * tile.Rows) * multiprocessors;
            Assert.That(tiles * tile.Splits, Is.LessThanOrEqualTo(most * tile.Splits), $"{first} and {second} outputs in tiles of {tile.Rows}");
            Assert.That(tile.SharedBytes(rows), Is.LessThanOrEqualTo(SharedBytes));
        }
    }
}
