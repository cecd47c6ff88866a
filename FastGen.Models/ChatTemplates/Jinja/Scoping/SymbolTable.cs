namespace FastGen.Models.Jinja;

/// <summary>Where a variable's value comes from when its frame begins.</summary>
internal enum LoadKind { Parameter, Context, Outer, Unset }

/// <summary>The load of one slot: from the context by <paramref name="Name"/>, or from <paramref name="Slot"/> of the frame <paramref name="Hops"/> outwards.</summary>
internal readonly record struct SlotLoad(LoadKind Kind, string Name, int Hops = 0, int Slot = 0);

/// <summary>The slots of a frame, in order, and what fills each when the frame begins.</summary>
internal sealed record FrameLayout(IReadOnlyList<SlotLoad> Loads)
{
    public static readonly FrameLayout Empty = new([]);
}

/// <summary>
/// The names of one frame. Jinja decides before rendering where each name lives, so that a name assigned anywhere in a frame
/// belongs to that frame, even where it is read first.
/// </summary>
internal sealed class SymbolTable
{
    private readonly SymbolTable? _parent;
    private readonly List<SlotLoad> _slots;
    private readonly Dictionary<string, int> _slotOfName;
    private readonly Dictionary<string, int> _references;
    private readonly HashSet<string> _stores;

    public SymbolTable(SymbolTable? parent) : this(parent, [], [], new Dictionary<string, int>(), [])
    {
    }

    private SymbolTable(SymbolTable? parent, List<SlotLoad> slots, Dictionary<string, int> slotOfName, IReadOnlyDictionary<string, int> references, IEnumerable<string> stores)
    {
        _parent = parent;
        _slots = slots;
        _slotOfName = slotOfName;
        _references = new Dictionary<string, int>(references);
        _stores = [.. stores];
    }

    public FrameLayout ToLayout() => new([.. _slots]);

    /// <summary>A table for one branch of an <c>if</c>: it has names of its own, but shares the frame's slots.</summary>
    public SymbolTable Branch() => new(_parent, _slots, _slotOfName, _references, _stores);

    /// <summary>The frame and slot that <paramref name="name"/> means here, or null for a name seen nowhere yet.</summary>
    public (int Hops, int Slot)? Find(string name)
    {
        int hops = 0;
        for (SymbolTable? table = this; table is not null; table = table._parent, hops++)
        {
            if (table._references.TryGetValue(name, out int slot)) return (hops, slot);
        }
        return null;
    }

    public void Load(string name)
    {
        if (Find(name) is null) Define(name, new SlotLoad(LoadKind.Context, name));
    }

    public void Store(string name)
    {
        _stores.Add(name);
        if (!_references.ContainsKey(name)) Define(name, OuterOr(name, new SlotLoad(LoadKind.Unset, name)));
    }

    public int DeclareParameter(string name)
    {
        _stores.Add(name);
        return Define(name, new SlotLoad(LoadKind.Parameter, name));
    }

    /// <summary>Takes in what the branches of an <c>if</c> did: a name stored in one of them may keep the value from before.</summary>
    public void Merge(IReadOnlyList<SymbolTable> branches)
    {
        HashSet<string> stored = [.. branches.SelectMany(branch => branch._stores)];
        stored.ExceptWith(_stores);
        foreach (SymbolTable branch in branches)
        {
            foreach ((string name, int slot) in branch._references) _references[name] = slot;
            _stores.UnionWith(branch._stores);
        }
        foreach (string name in stored) _slots[_references[name]] = OuterOr(name, new SlotLoad(LoadKind.Context, name));
    }

    private SlotLoad OuterOr(string name, SlotLoad otherwise) =>
        _parent?.Find(name) is (int hops, int slot) ? new SlotLoad(LoadKind.Outer, name, hops + 1, slot) : otherwise;

    private int Define(string name, SlotLoad load)
    {
        if (!_slotOfName.TryGetValue(name, out int slot))
        {
            slot = _slots.Count;
            _slots.Add(load);
            _slotOfName[name] = slot;
        }
        else
        {
            _slots[slot] = load;
        }

        _references[name] = slot;
        return slot;
    }
}
