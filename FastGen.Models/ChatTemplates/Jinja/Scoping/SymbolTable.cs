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

    // A branch of an `if` keeps only what it adds to the table before it.
    private readonly SymbolTable? _before;
    private readonly List<SlotLoad> _slots;
    private readonly Dictionary<string, int> _slotOfName;
    private readonly Dictionary<string, int> _references = [];
    private readonly HashSet<string> _stores = [];

    public SymbolTable(SymbolTable? parent) : this(parent, null, [], [])
    {
    }

    private SymbolTable(SymbolTable? parent, SymbolTable? before, List<SlotLoad> slots, Dictionary<string, int> slotOfName)
    {
        _parent = parent;
        _before = before;
        _slots = slots;
        _slotOfName = slotOfName;
    }

    public FrameLayout ToLayout() => new([.. _slots]);

    /// <summary>A table for one branch of an <c>if</c>: it has names of its own, but shares the frame's slots.</summary>
    public SymbolTable Branch() => new(_parent, this, _slots, _slotOfName);

    /// <summary>The frame and slot that <paramref name="name"/> means here, or null for a name seen nowhere yet.</summary>
    public (int Hops, int Slot)? Find(string name)
    {
        int hops = 0;
        for (SymbolTable? table = this; table is not null; table = table._parent, hops++)
        {
            if (table.SlotOf(name) is int slot) return (hops, slot);
        }
        return null;
    }

    private int? SlotOf(string name)
    {
        for (SymbolTable? table = this; table is not null; table = table._before)
        {
            if (table._references.TryGetValue(name, out int slot)) return slot;
        }
        return null;
    }

    private bool IsStored(string name)
    {
        for (SymbolTable? table = this; table is not null; table = table._before)
        {
            if (table._stores.Contains(name)) return true;
        }
        return false;
    }

    public void Load(string name)
    {
        if (Find(name) is null) Define(name, new SlotLoad(LoadKind.Context, name));
    }

    public void Store(string name)
    {
        _stores.Add(name);
        if (SlotOf(name) is null) Define(name, OuterOr(name, new SlotLoad(LoadKind.Unset, name)));
    }

    public int DeclareParameter(string name)
    {
        _stores.Add(name);
        return Define(name, new SlotLoad(LoadKind.Parameter, name));
    }

    /// <summary>Takes in what the branches of an <c>if</c> did: a name stored in one of them may keep the value from before.</summary>
    public void Merge(IReadOnlyList<SymbolTable> branches)
    {
        HashSet<string> stored = [.. branches.SelectMany(branch => branch._stores).Where(name => !IsStored(name))];
        foreach (SymbolTable branch in branches)
        {
            foreach ((string name, int slot) in branch._references) _references[name] = slot;
            _stores.UnionWith(branch._stores);
        }
        foreach (string name in stored) _slots[SlotOf(name)!.Value] = OuterOr(name, new SlotLoad(LoadKind.Context, name));
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
