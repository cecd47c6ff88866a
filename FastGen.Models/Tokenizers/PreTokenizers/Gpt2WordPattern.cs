namespace FastGen.Models.Tokenizers;

/// <summary>The words of GPT-2, scanned by hand: one pass, no backtracking, letters beyond the basic plane included.</summary>
internal sealed class Gpt2WordPattern : WordPattern
{
    /// <summary>The regular expression that this class stands for.</summary>
    public const string Expression = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    /// <summary>The only instance.</summary>
    public static Gpt2WordPattern Instance { get; } = new();

    /// <inheritdoc/>
    public override int EndOfWord(ReadOnlySpan<char> text, int start)
    {
        if (text[start] == '\'' && ContractionLength(text[(start + 1)..]) is int contraction and > 0) return start + 1 + contraction;

        int first = text[start] == ' ' && start + 1 < text.Length ? start + 1 : start;
        CharacterClass classes = CharacterClasses.At(text, first, out int length);
        if ((classes & CharacterClass.Letter) != 0) return EndOfRun(text, first + length, CharacterClass.Letter);
        if ((classes & CharacterClass.Number) != 0) return EndOfRun(text, first + length, CharacterClass.Number);
        if (CharacterClasses.IsSymbol(classes)) return EndOfSymbols(text, first + length);
        return EndOfSpaces(text, start, EndOfRun(text, start, CharacterClass.WhiteSpace));
    }

    private static int ContractionLength(ReadOnlySpan<char> text) => text switch
    {
        ['s' or 't' or 'm' or 'd', ..] => 1,
        ['r' or 'v', 'e', ..] or ['l', 'l', ..] => 2,
        _ => 0,
    };
}
