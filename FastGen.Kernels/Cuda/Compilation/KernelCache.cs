using System.IO.Hashing;
using System.Text;

namespace FastGen.Kernels.Cuda.Compilation;

/// <summary>
/// Compiled kernels, and choices between them, on disk. A file's name is the hash of all that went into it; it holds the hash of its content and the content. What is
/// damaged counts as absent, and a file appears whole or not at all, so that several processes may share the folder. A folder that cannot be
/// written only costs compiling and timing again.
/// </summary>
internal sealed class KernelCache(string folder)
{
    // Not cryptographic: that would need OpenSSL, without which the runtime ends the process.
    private const int HashBytes = 16;

    /// <summary>A folder of the user's local application data.</summary>
    public static string DefaultFolder
    {
        get
        {
            string data = Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify);
            return Path.Combine(data.Length > 0 ? data : Path.GetTempPath(), "FastGen", "kernels");
        }
    }

    /// <summary>The key of a kernel: everything that its code follows from.</summary>
    public static string Key(params ReadOnlySpan<string> parts)
    {
        XxHash128 hash = new();
        foreach (string part in parts)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(part);
            hash.Append(BitConverter.GetBytes(bytes.Length));
            hash.Append(bytes);
        }
        return Convert.ToHexStringLower(hash.GetCurrentHash());
    }

    /// <summary>The stored image, or what <paramref name="build"/> makes, stored.</summary>
    public byte[] GetOrAdd(string key, Func<byte[]> build)
    {
        string path = Path.Combine(folder, key + ".bin");
        if (Read(path) is { } stored) return stored;
        byte[] image = build();
        Write(path, image);
        return image;
    }

    private static byte[]? Read(string path)
    {
        try
        {
            if (!File.Exists(path)) return null;
            byte[] file = File.ReadAllBytes(path);
            if (file.Length <= HashBytes) return null;
            byte[] image = file[HashBytes..];
            return XxHash128.Hash(image).AsSpan().SequenceEqual(file.AsSpan(0, HashBytes)) ? image : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private void Write(string path, byte[] image)
    {
        string temporary = $"{path}.{Guid.NewGuid():N}";
        try
        {
            Directory.CreateDirectory(folder);
            File.WriteAllBytes(temporary, [.. XxHash128.Hash(image), .. image]);
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Compiling again next time is all that is lost: the disk is full, or on Windows another process is reading the file.
            Remove(temporary);
        }
    }

    private static void Remove(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
    }
}
