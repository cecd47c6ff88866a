using System.Globalization;
using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>The sets of characters that tokenizers tell apart, as Hugging Face's tokenizers define them.</summary>
[Flags]
internal enum CharacterClass : byte
{
    /// <summary>None of the others.</summary>
    Other = 0,

    /// <summary>General category L.</summary>
    Letter = 1,

    /// <summary>General category N.</summary>
    Number = 2,

    /// <summary>The White_Space property.</summary>
    WhiteSpace = 4,

    /// <summary>Punctuation as BERT has it: category P of Unicode 8.0 and ASCII's symbols.</summary>
    Punctuation = 8,

    /// <summary>What <c>\w</c> matches: letters, marks, decimal and letter numbers, connectors, joiners.</summary>
    Word = 16,

    /// <summary>Half of a character beyond the basic plane; only code units have it.</summary>
    Surrogate = 32,
}

/// <summary>Looks up <see cref="CharacterClass"/> by code point, beyond the basic plane as well.</summary>
internal static class CharacterClasses
{
    private const CharacterClass LetterOrNumberOrSpace = CharacterClass.Letter | CharacterClass.Number | CharacterClass.WhiteSpace;

    // Became punctuation after Unicode 8.0.
    private static readonly (int First, int Last)[] LaterPunctuation =
    [
        (0x61D, 0x61D), (0x9FD, 0x9FD), (0xA76, 0xA76), (0xC77, 0xC77), (0xC84, 0xC84), (0x1B4E, 0x1B4F), (0x1B7D, 0x1B7F),
        (0x2E43, 0x2E4F), (0x2E52, 0x2E5D), (0x10D6E, 0x10D6E), (0x10EAD, 0x10EAD), (0x10F55, 0x10F59), (0x10F86, 0x10F89),
        (0x113D4, 0x113D5), (0x113D7, 0x113D8), (0x1144B, 0x1144F), (0x1145A, 0x1145B), (0x1145D, 0x1145D), (0x11660, 0x1166C),
        (0x116B9, 0x116B9), (0x1183B, 0x1183B), (0x11944, 0x11946), (0x119E2, 0x119E2), (0x11A3F, 0x11A46), (0x11A9A, 0x11A9C),
        (0x11A9E, 0x11AA2), (0x11B00, 0x11B09), (0x11BE1, 0x11BE1), (0x11C41, 0x11C45), (0x11C70, 0x11C71), (0x11EF7, 0x11EF8),
        (0x11F43, 0x11F4F), (0x11FFF, 0x11FFF), (0x12FF1, 0x12FF2), (0x16D6D, 0x16D6F), (0x16E97, 0x16E9A), (0x16FE2, 0x16FE2),
        (0x1E5FF, 0x1E5FF), (0x1E95E, 0x1E95F),
    ];

    // Alphabetic without being letters or marks.
    private static readonly (int First, int Last)[] AlphabeticSymbols =
        [(0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189)];

    private static readonly CharacterClass[] BasicPlane = ClassifyBasicPlane();

    /// <summary>The classes of the character at <paramref name="index"/> and its <paramref name="length"/> in code units.</summary>
    public static CharacterClass At(ReadOnlySpan<char> text, int index, out int length)
    {
        CharacterClass classes = BasicPlane[text[index]];
        length = 1;
        return (classes & CharacterClass.Surrogate) == 0 ? classes : ClassifyPair(text, index, out length);
    }

    /// <summary>The classes of <paramref name="rune"/>.</summary>
    public static CharacterClass Of(Rune rune) => rune.IsBmp ? BasicPlane[rune.Value] : Classify(rune);

    /// <summary>True for a character that is neither letter, number nor white space.</summary>
    public static bool IsSymbol(CharacterClass classes) => (classes & LetterOrNumberOrSpace) == 0;

    private static CharacterClass ClassifyPair(ReadOnlySpan<char> text, int index, out int length)
    {
        Rune.DecodeFromUtf16(text[index..], out Rune rune, out length);
        return Of(rune);
    }

    private static CharacterClass[] ClassifyBasicPlane()
    {
        CharacterClass[] classes = new CharacterClass[char.MaxValue + 1];
        for (int value = 0; value < classes.Length; value++)
        {
            classes[value] = Rune.IsValid(value) ? Classify(new Rune(value)) : CharacterClass.Surrogate;
        }
        return classes;
    }

    private static CharacterClass Classify(Rune rune)
    {
        CharacterClass classes = Rune.GetUnicodeCategory(rune) switch
        {
            <= UnicodeCategory.OtherLetter => CharacterClass.Letter | CharacterClass.Word,
            <= UnicodeCategory.EnclosingMark => CharacterClass.Word,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber => CharacterClass.Number | CharacterClass.Word,
            UnicodeCategory.OtherNumber => CharacterClass.Number,
            UnicodeCategory.ConnectorPunctuation => CharacterClass.Punctuation | CharacterClass.Word,
            >= UnicodeCategory.DashPunctuation and <= UnicodeCategory.OtherPunctuation => CharacterClass.Punctuation,
            _ => CharacterClass.Other,
        };
        int value = rune.Value;
        if (Rune.IsWhiteSpace(rune)) classes |= CharacterClass.WhiteSpace;
        if (value is 0x200C or 0x200D || Contains(AlphabeticSymbols, value)) classes |= CharacterClass.Word;
        if (value < 0x80 && char.IsSymbol((char)value) || value is 0x166D or 0x111C9) classes |= CharacterClass.Punctuation;
        if ((classes & CharacterClass.Punctuation) != 0 && Contains(LaterPunctuation, value)) classes &= ~CharacterClass.Punctuation;
        return classes;
    }

    private static bool Contains((int First, int Last)[] ranges, int value)
    {
        foreach ((int first, int last) in ranges)
        {
            if (value >= first && value <= last) return true;
        }
        return false;
    }
}
