using System.Globalization;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Interop;

namespace FastGen.Kernels.Cuda.Products;

/// <summary>
/// Which of several ways to compute a product was the fastest: timed once and kept beside the compiled kernels, for the next program that loads such a model. This
/// program keeps it too: where the folder cannot be written, a plan that is made anew while a step is recorded must not time, which waits for events.
/// </summary>
/// <param name="cache">Where they are kept.</param>
/// <param name="device">What the times follow from beside the product: the device and the version of cuBLASLt.</param>
internal sealed class ProductChoices(KernelCache cache, string device)
{
    private readonly Dictionary<string, int> _known = [];

    /// <summary>Choices for a device of that name, by the cuBLASLt that is loaded.</summary>
    public static ProductChoices For(KernelCache cache, CudaDevice device, string name) =>
        new(cache, string.Create(CultureInfo.InvariantCulture, $"{name} {device.Capability} {device.Multiprocessors} cuBLASLt {CublasLt.cublasLtGetVersion()}"));

    /// <summary>Index of the fastest of <paramref name="candidates"/>: as kept, or as <paramref name="measure"/> finds it now.</summary>
    /// <param name="product">Everything that the candidates follow from: shape, types, what follows the product.</param>
    /// <param name="candidates">How many there are; another number is another choice.</param>
    /// <param name="measure">Gives the index.</param>
    public int GetOrAdd(string product, int candidates, Func<int> measure)
    {
        string key = KernelCache.Key("product", device, product, candidates.ToString(CultureInfo.InvariantCulture));
        if (_known.TryGetValue(key, out int known)) return known;
        int choice = BitConverter.ToInt32(cache.GetOrAdd(key, () => BitConverter.GetBytes(measure())));
        return _known[key] = (uint)choice < (uint)candidates ? choice : 0;
    }
}
