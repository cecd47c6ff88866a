using System.Buffers;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// Tokens and their ids, kept as one block of UTF-8 and a hash table: a vocabulary of 150,000 tokens is three arrays, not 150,000 strings.
/// A token added twice keeps its last id.
/// </summary>
internal sealed class Vocabulary
{
    private const int LargestId = 1 << 26;

    private readonly List<int> _ids;
    private readonly List<int> _starts;
    private byte[] _utf8;
    private int[] _buckets;
    private int[] _entryOfId = [];

    /// <summary>An empty vocabulary with room for about <paramref name="capacity"/> tokens.</summary>
    public Vocabulary(int capacity)
    {
        _ids = new(capacity);
        _starts = new(capacity + 1) { 0 };
        _utf8 = new byte[capacity * 8];
        _buckets = new int[BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, capacity * 2))];
    }

    /// <summary>The number of tokens.</summary>
    public int Count => _ids.Count;

    /// <summary>One more than the largest id.</summary>
    public int IdLimit { get; private set; }

    /// <summary>Adds a token; false when <paramref name="id"/> cannot be an id.</summary>
    public bool Add(ReadOnlySpan<byte> token, int id)
    {
        if (id is < 0 or >= LargestId) return false;
        IdLimit = Math.Max(IdLimit, id + 1);
        int bucket = Find(token, out int entry);
        if (entry < 0)
        {
            entry = Append(token, id);
            _buckets[bucket] = entry + 1;
            if (_ids.Count * 2 > _buckets.Length) Rehash();
        }
        _ids[entry] = id;
        if (id >= _entryOfId.Length) Array.Resize(ref _entryOfId, Math.Max(id + 1, Math.Max(_entryOfId.Length * 2, 1024)));
        _entryOfId[id] = entry + 1;
        return true;
    }

    /// <summary>Adds a token given as UTF-16.</summary>
    public bool Add(string token, int id) => Add(Encoding.UTF8.GetBytes(token), id);

    /// <summary>The id of a token, or -1.</summary>
    public int IdOf(ReadOnlySpan<byte> token)
    {
        Find(token, out int entry);
        return entry < 0 ? -1 : _ids[entry];
    }

    /// <summary>The id of a token given as UTF-16, or -1.</summary>
    public int IdOf(ReadOnlySpan<char> token)
    {
        byte[]? rented = null;
        int limit = Encoding.UTF8.GetMaxByteCount(token.Length);
        Span<byte> utf8 = limit <= 512 ? stackalloc byte[512] : (rented = ArrayPool<byte>.Shared.Rent(limit));
        int id = IdOf(utf8[..Encoding.UTF8.GetBytes(token, utf8)]);
        if (rented is not null) ArrayPool<byte>.Shared.Return(rented);
        return id;
    }

    /// <summary>True when some token has the id.</summary>
    public bool Contains(int id) => (uint)id < (uint)_entryOfId.Length && _entryOfId[id] != 0;

    /// <summary>The UTF-8 of the token with the id; empty where there is none.</summary>
    public ReadOnlySpan<byte> Utf8Of(int id) => Contains(id) ? EntryUtf8(_entryOfId[id] - 1) : default;

    /// <summary>The token with the id, or null.</summary>
    public string? TokenOf(int id) => Contains(id) ? Encoding.UTF8.GetString(Utf8Of(id)) : null;

    private int Append(ReadOnlySpan<byte> token, int id)
    {
        int start = _starts[^1];
        int end = start + token.Length;
        if (end > _utf8.Length) Array.Resize(ref _utf8, Math.Max(end, _utf8.Length * 2));
        token.CopyTo(_utf8.AsSpan(start));
        _starts.Add(end);
        _ids.Add(id);
        return _ids.Count - 1;
    }

    private ReadOnlySpan<byte> EntryUtf8(int entry) => _utf8.AsSpan(_starts[entry]..(_starts[entry + 1]));

    /// <summary>The bucket where the token is or would be, and its entry or -1.</summary>
    private int Find(ReadOnlySpan<byte> token, out int entry)
    {
        int mask = _buckets.Length - 1;
        for (int bucket = (int)Hash(token) & mask; ; bucket = (bucket + 1) & mask)
        {
            entry = _buckets[bucket] - 1;
            if (entry < 0 || EntryUtf8(entry).SequenceEqual(token)) return bucket;
        }
    }

    private void Rehash()
    {
        _buckets = new int[_buckets.Length * 2];
        int mask = _buckets.Length - 1;
        for (int entry = 0; entry < _ids.Count; entry++)
        {
            int bucket = (int)Hash(EntryUtf8(entry)) & mask;
            while (_buckets[bucket] != 0) bucket = (bucket + 1) & mask;
            _buckets[bucket] = entry + 1;
        }
    }

    private static uint Hash(ReadOnlySpan<byte> bytes)
    {
        const ulong Multiplier = 0x9E3779B97F4A7C15;
        ulong hash = (ulong)bytes.Length * Multiplier;
        for (; bytes.Length >= 8; bytes = bytes[8..]) hash = BitOperations.RotateLeft(hash ^ MemoryMarshal.Read<ulong>(bytes), 29) * Multiplier;
        ulong rest = 0;
        foreach (byte value in bytes) rest = (rest << 8) | value;
        hash = (hash ^ rest) * Multiplier;
        return (uint)(hash >> 32);
    }
}
