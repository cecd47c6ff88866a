using System.Diagnostics.CodeAnalysis;
using FastGen.Compute;

namespace FastGen.Models;

/// <summary>The safetensors files of a model folder: one, or shards that an index names.</summary>
internal sealed class SafetensorsCheckpoint : Checkpoint
{
    private const string SingleFile = "model.safetensors";

    private readonly Dictionary<string, (SafetensorsFile File, StoredTensor Tensor)> _tensors = new(StringComparer.Ordinal);
    private readonly List<SafetensorsFile> _files = [];
    private long _totalBytes;

    private SafetensorsCheckpoint(string folder) => Location = folder;

    /// <inheritdoc/>
    public override string Location { get; }

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Names => _tensors.Keys;

    /// <inheritdoc/>
    public override long TotalBytes => _totalBytes;

    /// <inheritdoc/>
    public override DType MainType => _tensors.Values
        .Where(entry => entry.Tensor.TryGetType(out _))
        .GroupBy(entry => entry.Tensor.TypeName, entry => entry.Tensor)
        .MaxBy(group => group.Sum(tensor => tensor.Bytes)) is { } group && group.First().TryGetType(out DType? type) ? type.Value : DType.F32;

    /// <summary>Opens all files of the folder's checkpoint and checks their headers.</summary>
    /// <exception cref="ModelLoadException">There is no safetensors checkpoint, or it is not whole.</exception>
    public static SafetensorsCheckpoint Open(string folder)
    {
        SafetensorsCheckpoint checkpoint = new(folder);
        try
        {
            string single = Path.Combine(folder, SingleFile), index = Path.Combine(folder, SafetensorsIndex.FileName);
            if (File.Exists(single)) checkpoint.Add(single);
            else if (File.Exists(index)) checkpoint.AddShards(SafetensorsIndex.Read(index));
            else throw NoWeights(folder);
            return checkpoint;
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override bool ContainsPrefix(string prefix) => _tensors.Keys.Any(name => name.StartsWith(prefix + ".", StringComparison.Ordinal));

    /// <inheritdoc/>
    public override bool TryFind(string name, [NotNullWhen(true)] out StoredTensor? tensor)
    {
        tensor = _tensors.TryGetValue(name, out (SafetensorsFile File, StoredTensor Tensor) entry) ? entry.Tensor : null;
        return tensor is not null;
    }

    /// <inheritdoc/>
    public override StoredTensor Require(string name, params ReadOnlySpan<long> shape)
    {
        if (!TryFind(name, out StoredTensor? tensor))
        {
            throw new ModelLoadException($"{Location}: tensor '{name}' is missing; the checkpoint is not whole, or its config.json belongs to another model.");
        }
        if (!tensor.Shape.SequenceEqual(shape.ToArray()))
        {
            throw new ModelLoadException($"{tensor.File}: {tensor} should have the shape [{string.Join(", ", shape.ToArray())}] by config.json; the two do not belong together.");
        }
        if (!tensor.TryGetType(out _)) throw new UnsupportedModelException(tensor.File, $"dtype of tensor '{name}'", tensor.TypeName, "F32, F16, BF16");
        return tensor;
    }

    /// <inheritdoc/>
    public override void Read(StoredTensor tensor, long offset, Span<byte> target) => _tensors[tensor.Name].File.Read(tensor, offset, target);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        foreach (SafetensorsFile file in _files) file.Dispose();
        base.Dispose(disposing);
    }

    private void AddShards(SafetensorsIndex index)
    {
        foreach (string shard in index.Shards)
        {
            string path = Path.Combine(Location, shard);
            if (!File.Exists(path)) throw new ModelLoadException($"{index.Path}: names the shard '{shard}', which is not in the folder; get it too.");
            Add(path);
        }
        foreach ((string name, string shard) in index.Tensors)
        {
            if (!_tensors.TryGetValue(name, out (SafetensorsFile File, StoredTensor Tensor) entry) || Path.GetFileName(entry.File.Path) != shard)
            {
                throw new ModelLoadException($"{Path.Combine(Location, shard)}: tensor '{name}' is missing, though {SafetensorsIndex.FileName} says that it is there; the files do not belong together.");
            }
        }
    }

    private void Add(string path)
    {
        SafetensorsFile file = SafetensorsFile.Open(path);
        _files.Add(file);
        foreach (StoredTensor tensor in file.Tensors.Values)
        {
            if (!_tensors.TryAdd(tensor.Name, (file, tensor)))
            {
                throw new ModelLoadException($"{path}: tensor '{tensor.Name}' is also in {_tensors[tensor.Name].File.Path}; a tensor may be in one shard only.");
            }
            _totalBytes += tensor.Bytes;
        }
    }

    private static ModelLoadException NoWeights(string folder)
    {
        string[] others = [.. Directory.EnumerateFiles(folder).Select(Path.GetFileName).OfType<string>()
            .Where(name => Path.GetExtension(name) is ".bin" or ".pt" or ".pth" or ".gguf" or ".ggml" or ".safetensors" or ".h5" or ".msgpack" or ".onnx").Order(StringComparer.Ordinal).Take(5)];
        string found = others.Length == 0 ? "no weights at all" : string.Join(", ", others);
        string remedy = others.Any(name => name.EndsWith(".bin", StringComparison.Ordinal) || name.EndsWith(".pth", StringComparison.Ordinal))
            ? "pickled PyTorch files can run code and are not read; convert them to safetensors, or get the model's safetensors files"
            : "get the model's Hugging Face safetensors files";
        return new ModelLoadException($"{folder}: has neither {SingleFile} nor {SafetensorsIndex.FileName}, but has {found}; {remedy}.");
    }
}
