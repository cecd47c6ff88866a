namespace FastGen.Models.Jinja;

/// <summary>Python's stable sort by key.</summary>
internal static class PythonSort
{
    public static List<T> By<T>(IReadOnlyList<T> items, Func<T, object?> key, bool reverse, RenderBudget budget)
    {
        (object? Key, T Item)[] entries = [.. items.Select(item => (key(item), item))];

        // Python keeps equal items in order when it sorts in reverse, too: by reversing before and after.
        if (reverse) Array.Reverse(entries);
        MergeSort(entries, new (object?, T)[entries.Length], 0, entries.Length, budget);
        if (reverse) Array.Reverse(entries);
        return [.. entries.Select(entry => entry.Item)];
    }

    private static void MergeSort<T>((object? Key, T Item)[] entries, (object? Key, T Item)[] spare, int start, int end, RenderBudget budget)
    {
        if (end - start < 2) return;
        int middle = start + (end - start) / 2;
        MergeSort(entries, spare, start, middle, budget);
        MergeSort(entries, spare, middle, end, budget);
        Array.Copy(entries, start, spare, start, end - start);
        int left = start, right = middle;
        for (int i = start; i < end; i++)
        {
            // The right one goes first only if it is less, so that equal items keep their order.
            bool takeRight = right < end && (left == middle || PythonComparison.Compare(spare[right].Key, spare[left].Key, "<", budget) < 0);
            entries[i] = takeRight ? spare[right++] : spare[left++];
        }
    }
}
