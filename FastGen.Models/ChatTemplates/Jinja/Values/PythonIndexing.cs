namespace FastGen.Models.Jinja;

/// <summary>The bounds of a slice, each an int or None.</summary>
internal sealed record PythonSlice(object? Start, object? Stop, object? Step)
{
    /// <summary>First index, step and number of elements of the slice of a sequence of <paramref name="length"/> elements.</summary>
    public (long Start, long Step, int Count) Resolve(int length)
    {
        long step = Step is null ? 1 : Bound(Step);
        if (step == 0) throw TemplateError.Value("slice step cannot be zero");
        long lowest = step > 0 ? 0 : -1, highest = step > 0 ? length : length - 1L;
        long start = Start is null ? (step > 0 ? lowest : highest) : Math.Clamp(FromEnd(Bound(Start), length), lowest, highest);
        long stop = Stop is null ? (step > 0 ? highest : lowest) : Math.Clamp(FromEnd(Bound(Stop), length), lowest, highest);
        Int128 count = step > 0 ? ((Int128)stop - start + step - 1) / step : ((Int128)start - stop - (Int128)step - 1) / -(Int128)step;
        return (start, step, (int)Int128.Max(count, 0));
    }

    private static long FromEnd(long bound, int length) => bound < 0 ? bound + length : bound;

    private static long Bound(object? value) =>
        PythonNumber.IsInteger(value) ? PythonNumber.ToLong(value) : throw TemplateError.Type("slice indices must be integers or None or have an __index__ method");
}

/// <summary>Subscription <c>x[i]</c> and slicing.</summary>
internal static class PythonIndexing
{
    /// <summary>The element at <paramref name="key"/>; false where Python raises IndexError, KeyError or TypeError.</summary>
    public static bool TryGetItem(object? target, object? key, RenderBudget budget, out object? value)
    {
        value = null;
        switch (target)
        {
            case Undefined undefined:
                throw undefined.Error();
            case PythonDict dict:
                return PythonComparison.IsHashable(key) && dict.TryGet(key, budget, out value);
            case PythonList list:
                return TryAt(list.Items, key, out value);
            case PythonTuple tuple:
                return TryAt(tuple.Items, key, out value);
            case PythonRange range when TryIndex(key, range.Length, out int at):
                value = range.Start + at * range.Step;
                return true;
            case string or Markup:
                return TryCharacter(target, key, budget, out value);
            default:
                return false;
        }
    }

    private static bool TryAt(IReadOnlyList<object?> items, object? key, out object? value)
    {
        bool found = TryIndex(key, items.Count, out int index);
        value = found ? items[index] : null;
        return found;
    }

    private static bool TryCharacter(object target, object? key, RenderBudget budget, out object? value)
    {
        value = null;
        string text = PythonTypes.TextOf(target)!;
        budget.Step(text.Length / 16);
        if (!TryIndex(key, CodePoints.Count(text), out int index)) return false;
        int position = CodePoints.ToUnits(text, index);
        string character = text.Substring(position, char.IsHighSurrogate(text[position]) && position + 1 < text.Length ? 2 : 1);
        value = target is Markup ? new Markup(character) : character;
        return true;
    }

    private static bool TryIndex(object? key, int length, out int index)
    {
        index = 0;
        if (!PythonNumber.IsInteger(key)) return false;
        long at = PythonNumber.ToLong(key);
        if (at < 0) at += length;
        if (at < 0 || at >= length) return false;
        index = (int)at;
        return true;
    }

    public static object? Slice(object? target, PythonSlice slice, RenderBudget budget)
    {
        switch (target)
        {
            case Undefined undefined: throw undefined.Error();
            case string text: return SliceText(text, slice, budget);
            case Markup markup: return new Markup(SliceText(markup.Text, slice, budget));
            case PythonList list: return new PythonList(SliceItems(list.Items, slice, budget));
            case PythonTuple tuple: return new PythonTuple(SliceItems(tuple.Items, slice, budget));
            case PythonRange range:
                (long start, long step, int count) = slice.Resolve(range.Length);
                return new PythonRange(range.Start + start * range.Step, range.Start + (start + count * step) * range.Step, step * range.Step);
            case PythonDict: throw TemplateError.Type("unhashable type: 'slice'");
            default: throw TemplateError.Type($"'{PythonTypes.Name(target)}' object is not subscriptable");
        }
    }

    private static List<object?> SliceItems(IReadOnlyList<object?> items, PythonSlice slice, RenderBudget budget)
    {
        (long start, long step, int count) = slice.Resolve(items.Count);
        budget.Items(count);
        List<object?> result = new(count);
        for (int i = 0; i < count; i++) result.Add(items[(int)(start + i * step)]);
        return result;
    }

    private static string SliceText(string text, PythonSlice slice, RenderBudget budget)
    {
        budget.Text(text.Length);
        (long start, long step, int count) = slice.Resolve(CodePoints.Count(text));
        if (count == 0) return "";
        if (step == 1)
        {
            int from = CodePoints.ToUnits(text, (int)start);
            return text.Substring(from, CodePoints.ToUnits(text[from..], count));
        }
        if (step == -1 && count == CodePoints.Count(text)) return CodePoints.Reverse(text);
        string[] characters = [.. CodePoints.Split(text)];
        budget.Step(characters.Length);
        return string.Concat(Enumerable.Range(0, count).Select(i => characters[start + i * step]));
    }
}
