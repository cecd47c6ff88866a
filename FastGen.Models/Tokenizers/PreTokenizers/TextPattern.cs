namespace FastGen.Models.Tokenizers;

/// <summary>A match of a pattern: the code units from <paramref name="Start"/> up to <paramref name="End"/>.</summary>
internal readonly record struct TextMatch(int Start, int End);

/// <summary>Finds places in a text.</summary>
internal abstract class TextPattern
{
    /// <summary>Appends all matches, from left to right and without overlaps.</summary>
    public abstract void FindAll(ReadOnlySpan<char> text, List<TextMatch> matches);
}

/// <summary>A fixed text.</summary>
internal sealed class LiteralPattern(string literal) : TextPattern
{
    /// <summary>The text looked for; not empty.</summary>
    public string Literal { get; } = literal;

    /// <inheritdoc/>
    public override void FindAll(ReadOnlySpan<char> text, List<TextMatch> matches)
    {
        for (int from = 0; ;)
        {
            int index = text[from..].IndexOf(Literal, StringComparison.Ordinal);
            if (index < 0) return;
            matches.Add(new TextMatch(from + index, from + index + Literal.Length));
            from += index + Literal.Length;
        }
    }
}

/// <summary>Characters of a class, one match each or one match a run.</summary>
internal sealed class CharacterClassPattern(CharacterClass classes, bool joinRuns) : TextPattern
{
    /// <inheritdoc/>
    public override void FindAll(ReadOnlySpan<char> text, List<TextMatch> matches)
    {
        for (int index = 0; index < text.Length;)
        {
            bool isMatch = (CharacterClasses.At(text, index, out int length) & classes) != 0;
            if (isMatch && joinRuns && matches.Count > 0 && matches[^1].End == index) matches[^1] = matches[^1] with { End = index + length };
            else if (isMatch) matches.Add(new TextMatch(index, index + length));
            index += length;
        }
    }
}

/// <summary>Cuts a text into words that cover it: every character belongs to exactly one match.</summary>
internal abstract class WordPattern : TextPattern
{
    /// <summary>The end of the word that begins at <paramref name="start"/>.</summary>
    public abstract int EndOfWord(ReadOnlySpan<char> text, int start);

    /// <inheritdoc/>
    public sealed override void FindAll(ReadOnlySpan<char> text, List<TextMatch> matches)
    {
        for (int start = 0; start < text.Length;)
        {
            int end = EndOfWord(text, start);
            matches.Add(new TextMatch(start, end));
            start = end;
        }
    }

    /// <summary>The end of the run of characters from <paramref name="index"/> on that have one of the classes.</summary>
    protected static int EndOfRun(ReadOnlySpan<char> text, int index, CharacterClass classes)
    {
        while (index < text.Length && (CharacterClasses.At(text, index, out int length) & classes) != 0) index += length;
        return index;
    }

    /// <summary>The end of the run of characters that are neither letter, number nor white space.</summary>
    protected static int EndOfSymbols(ReadOnlySpan<char> text, int index)
    {
        while (index < text.Length && CharacterClasses.IsSymbol(CharacterClasses.At(text, index, out int length))) index += length;
        return index;
    }

    /// <summary><c>\s+(?!\S)|\s+</c>: white space belongs together, but the last of it goes with the word behind.</summary>
    protected static int EndOfSpaces(ReadOnlySpan<char> text, int start, int endOfRun) =>
        endOfRun < text.Length && endOfRun - start > 1 ? endOfRun - 1 : endOfRun;
}
