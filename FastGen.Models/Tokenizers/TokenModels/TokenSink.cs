using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>Receives the tokens of a text, in order.</summary>
internal sealed class TokenSink(bool withOffsets)
{
    private readonly List<int> _byteLengths = [];

    /// <summary>The ids so far.</summary>
    public List<int> Ids { get; } = [];

    /// <summary>For each id the characters of the normalized text that it covers, whole characters always; null when nobody asks for them.</summary>
    public List<Range>? Offsets { get; } = withOffsets ? [] : null;

    /// <summary>Adds one token that covers <paramref name="byteLength"/> bytes of its piece's UTF-8.</summary>
    public void Add(int id, int byteLength)
    {
        Ids.Add(id);
        if (Offsets is not null) _byteLengths.Add(byteLength);
    }

    /// <summary>
    /// The tokens added since the last call are those of <paramref name="piece"/>; <paramref name="originOf"/> tells where in the
    /// normalized text the character at an index of the piece comes from.
    /// </summary>
    public void EndPiece(ReadOnlySpan<char> piece, Func<int, int> originOf)
    {
        if (Offsets is null) return;
        int bytePosition = 0;
        (int index, int indexByte) = (0, 0);
        foreach (int length in _byteLengths)
        {
            Advance(piece, bytePosition, ref index, ref indexByte, roundUp: false);
            int start = originOf(index);
            bytePosition += length;
            (int end, int endByte) = (index, indexByte);
            Advance(piece, bytePosition, ref end, ref endByte, roundUp: true);
            Offsets.Add(start..Math.Max(start, originOf(end)));
        }
        _byteLengths.Clear();
    }

    private static void Advance(ReadOnlySpan<char> piece, int bytePosition, ref int index, ref int indexByte, bool roundUp)
    {
        while (index < piece.Length)
        {
            Rune.DecodeFromUtf16(piece[index..], out Rune rune, out int consumed);
            int next = indexByte + rune.Utf8SequenceLength;
            if (roundUp ? indexByte >= bytePosition : next > bytePosition) return;
            index += consumed;
            indexByte = next;
        }
    }
}
