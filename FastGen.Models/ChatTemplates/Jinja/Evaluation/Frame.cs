namespace FastGen.Models.Jinja;

/// <summary>The variables of a template, a loop body, a macro call or another scope while it runs.</summary>
internal sealed class Frame
{
    /// <summary>In a slot: the variable has no value.</summary>
    public static readonly object Unset = new();

    private readonly object?[] _slots;

    public Frame(Frame? outer, FrameLayout layout)
    {
        Outer = outer;
        Layout = layout;
        _slots = new object?[layout.Loads.Count];
    }

    public Frame? Outer { get; }
    public FrameLayout Layout { get; }

    public Frame Up(int hops)
    {
        Frame frame = this;
        for (; hops > 0; hops--) frame = frame.Outer!;
        return frame;
    }

    public object? this[int slot]
    {
        get => _slots[slot];
        set => _slots[slot] = value;
    }

    /// <summary>Fills the slots as at the start of the scope: a loop body does so at every iteration.</summary>
    public void Enter(IReadOnlyDictionary<string, object?> context, bool keepParameters)
    {
        for (int i = 0; i < _slots.Length; i++)
        {
            SlotLoad load = Layout.Loads[i];
            _slots[i] = load.Kind switch
            {
                LoadKind.Context => context.TryGetValue(load.Name, out object? value) ? value : Unset,
                LoadKind.Outer => Up(load.Hops)[load.Slot],
                LoadKind.Parameter when keepParameters => _slots[i],
                _ => Unset,
            };
        }
    }
}
