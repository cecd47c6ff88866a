namespace FastGen.Models.Tokenizers;

/// <summary>The words of Llama 3 (numbers of up to three digits) and Qwen (each digit alone), scanned by hand in one pass.</summary>
internal sealed class Cl100kWordPattern : WordPattern
{
    private const string Before = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
    private const string After = @"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>The regular expression of Llama 3.</summary>
    public const string Llama3Expression = Before + @"\p{N}{1,3}" + After;

    /// <summary>The regular expression of Qwen.</summary>
    public const string QwenExpression = Before + @"\p{N}" + After;

    private readonly int _longestNumber;

    private Cl100kWordPattern(int longestNumber) => _longestNumber = longestNumber;

    /// <summary>The words of Llama 3.</summary>
    public static Cl100kWordPattern Llama3 { get; } = new(3);

    /// <summary>The words of Qwen.</summary>
    public static Cl100kWordPattern Qwen { get; } = new(1);

    /// <inheritdoc/>
    public override int EndOfWord(ReadOnlySpan<char> text, int start)
    {
        char first = text[start];
        if (first == '\'' && ContractionLength(text[(start + 1)..]) is int contraction and > 0) return start + 1 + contraction;

        CharacterClass classes = CharacterClasses.At(text, start, out int length);
        int second = start + length;
        if ((classes & CharacterClass.Letter) != 0) return EndOfRun(text, second, CharacterClass.Letter);
        if ((classes & CharacterClass.Number) != 0) return EndOfNumber(text, second);

        CharacterClass next = second < text.Length ? CharacterClasses.At(text, second, out length) : CharacterClass.WhiteSpace;
        if (first is not ('\r' or '\n') && (next & CharacterClass.Letter) != 0) return EndOfRun(text, second + length, CharacterClass.Letter);
        if (CharacterClasses.IsSymbol(classes)) return EndOfLineBreaks(text, EndOfSymbols(text, second));
        if (first == ' ' && CharacterClasses.IsSymbol(next)) return EndOfLineBreaks(text, EndOfSymbols(text, second + length));

        int endOfRun = EndOfRun(text, start, CharacterClass.WhiteSpace);
        int lastBreak = text[start..endOfRun].LastIndexOfAny('\r', '\n');
        return lastBreak >= 0 ? start + lastBreak + 1 : EndOfSpaces(text, start, endOfRun);
    }

    private int EndOfNumber(ReadOnlySpan<char> text, int index)
    {
        for (int digits = 1; digits < _longestNumber && index < text.Length; digits++)
        {
            if ((CharacterClasses.At(text, index, out int length) & CharacterClass.Number) == 0) break;
            index += length;
        }
        return index;
    }

    private static int EndOfLineBreaks(ReadOnlySpan<char> text, int index)
    {
        while (index < text.Length && text[index] is '\r' or '\n') index++;
        return index;
    }

    // U+017F is a letter s to whoever ignores case.
    private static int ContractionLength(ReadOnlySpan<char> text) => text switch
    {
        ['s' or 'S' or '\u017F' or 't' or 'T' or 'm' or 'M' or 'd' or 'D', ..] => 1,
        ['r' or 'R' or 'v' or 'V', 'e' or 'E', ..] or ['l' or 'L', 'l' or 'L', ..] => 2,
        _ => 0,
    };
}
