namespace FastGen.Models.Tokenizers;

/// <summary>
/// Remembers the ids of words. Bounded: a word has one slot, and the latest word of a slot stays. Free of locks: an entry is immutable
/// and replaced as a whole.
/// </summary>
internal sealed class WordCache
{
    private const int SlotBits = 16;

    /// <summary>Longer words are not kept.</summary>
    public const int LongestWord = 64;

    private readonly Entry?[] _slots = new Entry?[1 << SlotBits];

    /// <summary>The ids of <paramref name="word"/>, or null. <paramref name="slot"/> is what <see cref="Set"/> asks for.</summary>
    public int[]? Find(ReadOnlySpan<char> word, out int slot)
    {
        slot = SlotOf(word);
        Entry? entry = Volatile.Read(ref _slots[slot]);
        return entry is not null && word.SequenceEqual(entry.Word) ? entry.Ids : null;
    }

    /// <summary>Keeps the ids of <paramref name="word"/>.</summary>
    public void Set(int slot, ReadOnlySpan<char> word, int[] ids) => Volatile.Write(ref _slots[slot], new Entry(word.ToString(), ids));

    private static int SlotOf(ReadOnlySpan<char> word)
    {
        ulong hash = (ulong)word.Length;
        foreach (char character in word) hash = (hash ^ character) * 0x9E3779B97F4A7C15;
        return (int)(hash >> (64 - SlotBits));
    }

    private sealed record Entry(string Word, int[] Ids);
}
