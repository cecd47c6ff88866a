using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace FastGen.Models;

/// <summary>
/// A safetensors file, read by offset into the caller's buffer, so that its pages stay in the system's file cache and
/// out of the process. Tensors may lie at any byte.
/// </summary>
internal sealed class SafetensorsFile : IDisposable
{
    private readonly SafeFileHandle _handle;

    private SafetensorsFile(string path, SafeFileHandle handle, Dictionary<string, StoredTensor> tensors)
    {
        Path = path;
        _handle = handle;
        Tensors = tensors;
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>What it holds, by name.</summary>
    public IReadOnlyDictionary<string, StoredTensor> Tensors { get; }

    /// <summary>Opens a file and checks its header.</summary>
    /// <exception cref="ModelLoadException">The file cannot be read or is not a whole safetensors file.</exception>
    public static SafetensorsFile Open(string path)
    {
        SafeFileHandle? handle = null;
        try
        {
            handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            return new SafetensorsFile(path, handle, ReadHeader(path, handle));
        }
        catch (Exception exception)
        {
            handle?.Dispose();
            if (exception is IOException or UnauthorizedAccessException) throw new ModelLoadException($"{path}: {ModelFile.Unreadable(path, exception)}.", exception);
            throw;
        }
    }

    /// <summary>Fills <paramref name="target"/> from the tensor's bytes, <paramref name="offset"/> bytes in.</summary>
    public void Read(StoredTensor tensor, long offset, Span<byte> target)
    {
        try
        {
            ReadExactly(_handle, tensor.Begin + offset, target, Path, tensor.Name);
        }
        catch (IOException exception)
        {
            throw new ModelLoadException($"{Path}: tensor '{tensor.Name}' cannot be read ({exception.Message}).", exception);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    private static Dictionary<string, StoredTensor> ReadHeader(string path, SafeFileHandle handle)
    {
        long fileBytes = RandomAccess.GetLength(handle);
        if (fileBytes < SafetensorsHeader.LengthBytes)
        {
            throw new ModelLoadException($"{path}: the file has {fileBytes} bytes, too few for a safetensors file; get it again (a Git LFS pointer or an interrupted download leaves such files).");
        }
        Span<byte> prefix = stackalloc byte[SafetensorsHeader.LengthBytes];
        ReadExactly(handle, 0, prefix, path, "header length");
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > SafetensorsHeader.MaxBytes)
        {
            throw new ModelLoadException($"{path}: the header claims {length} bytes, more than the format's limit of {SafetensorsHeader.MaxBytes}; this is no safetensors file, or a damaged one; get it again (a Git LFS pointer or a web page in its place begins like this).");
        }
        long dataBytes = fileBytes - SafetensorsHeader.LengthBytes - (long)length;
        if (dataBytes < 0)
        {
            throw new ModelLoadException($"{path}: the header claims {length} bytes, but the file has only {fileBytes}; the file is incomplete, get it again.");
        }
        byte[] json = new byte[length];
        ReadExactly(handle, SafetensorsHeader.LengthBytes, json, path, "header");
        return SafetensorsHeader.Parse(path, json, dataBytes);
    }

    private static void ReadExactly(SafeFileHandle handle, long position, Span<byte> target, string path, string what)
    {
        while (!target.IsEmpty)
        {
            int read = RandomAccess.Read(handle, target, position);
            if (read == 0) throw new ModelLoadException($"{path}: the file ends within '{what}'; it was cut short while being read.");
            position += read;
            target = target[read..];
        }
    }
}
