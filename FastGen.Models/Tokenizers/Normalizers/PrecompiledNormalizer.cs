using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// SentencePiece's compiled character map: a double-array trie (Aoe, 1989) from UTF-8 to offsets of replacement texts. As in
/// Hugging Face's reader a short grapheme is looked up whole first, and the shortest prefix that has an entry decides.
/// </summary>
internal sealed class PrecompiledNormalizer : TextNormalizer
{
    private const int LongestGrapheme = 5;

    private readonly uint[] _units;
    private readonly byte[] _replacements;

    private PrecompiledNormalizer(uint[] units, byte[] replacements)
    {
        _units = units;
        _replacements = replacements;
    }

    /// <summary>Reads the map; null when its sizes do not fit.</summary>
    public static PrecompiledNormalizer? Read(ReadOnlySpan<byte> map)
    {
        if (map.Length < sizeof(uint)) return null;
        uint trieSize = BinaryPrimitives.ReadUInt32LittleEndian(map);
        map = map[sizeof(uint)..];
        if (trieSize > map.Length || trieSize % sizeof(uint) != 0 || trieSize == 0) return null;
        uint[] units = new uint[trieSize / sizeof(uint)];
        for (int i = 0; i < units.Length; i++) units[i] = BinaryPrimitives.ReadUInt32LittleEndian(map[(i * sizeof(uint))..]);
        return new PrecompiledNormalizer(units, map[(int)trieSize..].ToArray());
    }

    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        StringBuilder result = new(text.Length);
        Span<byte> utf8 = stackalloc byte[4 * LongestGrapheme];
        for (int index = 0; index < text.Length;)
        {
            ReadOnlySpan<char> grapheme = text.AsSpan(index, StringInfo.GetNextTextElementLength(text, index));
            index += grapheme.Length;
            if (grapheme.Length <= LongestGrapheme && Encoding.UTF8.GetBytes(grapheme, utf8) is int length and <= LongestGrapheme
                && TryReplace(utf8[..length], result))
            {
                continue;
            }

            foreach (Rune rune in grapheme.EnumerateRunes())
            {
                if (!TryReplace(utf8[..rune.EncodeToUtf8(utf8)], result)) result.Append(rune.ToString());
            }
        }
        return result.ToString();
    }

    /// <inheritdoc/>
    /// <remarks>Hugging Face's reader does not count a character that the map drops here.</remarks>
    public override string NormalizeFirst(string first) => Normalize(first) is { Length: > 0 } kept ? kept : first;

    private bool TryReplace(ReadOnlySpan<byte> key, StringBuilder output)
    {
        int offset = FindShortestPrefix(key);
        if ((uint)offset >= (uint)_replacements.Length) return false;
        ReadOnlySpan<byte> replacement = _replacements.AsSpan(offset);
        int end = replacement.IndexOf((byte)0);
        output.Append(Encoding.UTF8.GetString(end < 0 ? replacement : replacement[..end]));
        return true;
    }

    private int FindShortestPrefix(ReadOnlySpan<byte> key)
    {
        uint position = Offset(_units[0]);
        foreach (byte label in key)
        {
            position ^= label;
            if (label == 0 || position >= _units.Length || Label(_units[position]) != label) return -1;
            uint unit = _units[position];
            position ^= Offset(unit);
            if (HasLeaf(unit)) return position < _units.Length ? (int)(_units[position] & 0x7FFFFFFF) : -1;
        }
        return -1;
    }

    private static uint Offset(uint unit) => (unit >> 10) << (int)((unit & (1u << 9)) >> 6);

    private static uint Label(uint unit) => unit & ((1u << 31) | 0xFF);

    private static bool HasLeaf(uint unit) => ((unit >> 8) & 1) == 1;
}
