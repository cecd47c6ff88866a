using System.Runtime.InteropServices;
using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>What can be wrong with a merge.</summary>
internal enum MergeProblem
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>It is not two tokens.</summary>
    NotAPair,

    /// <summary>One of its tokens, or the token it makes, is not in the vocabulary.</summary>
    TokenAbsent,
}

/// <summary>Collects merges in order of rank. <paramref name="prefixLength"/>: bytes of the right token that the merged one leaves out.</summary>
internal sealed class MergeTableBuilder(Vocabulary vocabulary, int prefixLength = 0)
{
    private readonly List<(int Left, int Right, int Merged)> _merges = new(vocabulary.Count);
    private byte[] _merged = new byte[256];
    private string _absent = "";

    /// <summary>The number of merges so far, and so the rank of the next one.</summary>
    public int Count => _merges.Count;

    /// <summary>Adds a merge written as two tokens with a space between.</summary>
    public MergeProblem AddLine(ReadOnlySpan<byte> line)
    {
        int space = line.IndexOf((byte)' ');
        return space < 0 || line[(space + 1)..].Contains((byte)' ') ? MergeProblem.NotAPair : Add(line[..space], line[(space + 1)..]);
    }

    /// <summary>Adds a merge.</summary>
    public MergeProblem Add(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        if (right.Length < prefixLength) return MergeProblem.NotAPair;
        int length = left.Length + right.Length - prefixLength;
        if (_merged.Length < length) _merged = new byte[length * 2];
        left.CopyTo(_merged);
        right[prefixLength..].CopyTo(_merged.AsSpan(left.Length));
        if (!TryFind(left, out int leftId) || !TryFind(right, out int rightId) || !TryFind(_merged.AsSpan(0, length), out int mergedId)) return MergeProblem.TokenAbsent;
        _merges.Add((leftId, rightId, mergedId));
        return MergeProblem.None;
    }

    /// <summary>The problem in words, after it happened.</summary>
    public string Describe(MergeProblem problem) => problem == MergeProblem.TokenAbsent
        ? $"needs the token '{_absent}', which is not in the vocabulary"
        : "must be two tokens, as \"a b\" or as [\"a\", \"b\"]";

    /// <summary>The table of all merges.</summary>
    public MergeTable Build()
    {
        MergeTable table = new(_merges.Count);
        ReadOnlySpan<(int Left, int Right, int Merged)> merges = CollectionsMarshal.AsSpan(_merges);
        for (int rank = 0; rank < merges.Length; rank++) table.Add(merges[rank].Left, merges[rank].Right, rank, merges[rank].Merged);
        return table;
    }

    private bool TryFind(ReadOnlySpan<byte> token, out int id)
    {
        id = vocabulary.IdOf(token);
        if (id < 0) _absent = Encoding.UTF8.GetString(token);
        return id >= 0;
    }
}
