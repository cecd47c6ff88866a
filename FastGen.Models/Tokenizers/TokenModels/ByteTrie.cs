namespace FastGen.Models.Tokenizers;

/// <summary>A trie over bytes whose edges live in one hash table.</summary>
internal sealed class ByteTrie
{
    /// <summary>The node where every search begins.</summary>
    public const int Root = 0;

    private readonly Dictionary<long, int> _edges = [];
    private readonly List<int> _values = [-1];

    /// <summary>Adds a key; one added twice keeps the last value.</summary>
    public void Add(ReadOnlySpan<byte> key, int value)
    {
        int node = Root;
        foreach (byte label in key)
        {
            if (!_edges.TryGetValue(Edge(node, label), out int next))
            {
                next = _values.Count;
                _values.Add(-1);
                _edges.Add(Edge(node, label), next);
            }
            node = next;
        }
        _values[node] = value;
    }

    /// <summary>Follows one edge; false where there is none.</summary>
    public bool TryStep(ref int node, byte label, out int value)
    {
        value = -1;
        if (!_edges.TryGetValue(Edge(node, label), out int next)) return false;
        node = next;
        value = _values[next];
        return true;
    }

    private static long Edge(int node, byte label) => ((long)node << 8) | label;
}
