using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// Any other regular expression. .NET matches code units, Hugging Face characters; so the expression runs on a text in which every
/// character beyond the basic plane is one stand-in of the same general category.
/// </summary>
internal sealed class RegexPattern : TextPattern
{
    // Oniguruma's ^ and $ are the ends of lines. Not NonBacktracking: of " (a" it finds no match of " ?[^( ]+". The time limit bounds a match.
    private const RegexOptions Options = RegexOptions.CultureInvariant | RegexOptions.Multiline;

    private static readonly TimeSpan LongestMatch = TimeSpan.FromSeconds(10);
    private static readonly char[] StandIns = ChooseStandIns();

    private readonly Regex _regex;

    private RegexPattern(Regex regex) => _regex = regex;

    /// <summary>The pattern for an expression: a hand-written scanner for the well-known ones. Throws <see cref="ArgumentException"/> for a bad one.</summary>
    public static TextPattern Create(string expression) => expression switch
    {
        Gpt2WordPattern.Expression => Gpt2WordPattern.Instance,
        Cl100kWordPattern.Llama3Expression => Cl100kWordPattern.Llama3,
        Cl100kWordPattern.QwenExpression => Cl100kWordPattern.Qwen,
        _ => new RegexPattern(new Regex(OnigurumaSyntax.ToDotNet(expression), Options, LongestMatch)),
    };

    /// <inheritdoc/>
    public override void FindAll(ReadOnlySpan<char> text, List<TextMatch> matches)
    {
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
        {
            foreach (ValueMatch match in _regex.EnumerateMatches(text)) Add(matches, match.Index, match.Index + match.Length);
            return;
        }
        char[] standIns = ArrayPool<char>.Shared.Rent(text.Length);
        int[] origins = ArrayPool<int>.Shared.Rent(text.Length + 1);
        int count = 0;
        for (int index = 0; index < text.Length; count++)
        {
            Rune.DecodeFromUtf16(text[index..], out Rune rune, out int consumed);
            standIns[count] = rune.IsBmp ? (char)rune.Value : StandIn(rune);
            origins[count] = index;
            index += consumed;
        }
        origins[count] = text.Length;
        foreach (ValueMatch match in _regex.EnumerateMatches(standIns.AsSpan(0, count)))
        {
            Add(matches, origins[match.Index], origins[match.Index + match.Length]);
        }
        ArrayPool<char>.Shared.Return(standIns);
        ArrayPool<int>.Shared.Return(origins);
    }

    // Oniguruma's iterator passes over an empty match right behind another one.
    private static void Add(List<TextMatch> matches, int start, int end)
    {
        if (start < end || matches.Count == 0 || matches[^1].End < start) matches.Add(new TextMatch(start, end));
    }

    // Squared and circled letters are symbols, but word characters too.
    private static char StandIn(Rune rune) =>
        rune.Value is >= 0x1F130 and <= 0x1F189 && (CharacterClasses.Of(rune) & CharacterClass.Word) != 0 ? 'Ⓐ' : StandIns[(int)Rune.GetUnicodeCategory(rune)];

    // The last character of a category in the basic plane is unlikely to be named by an expression.
    private static char[] ChooseStandIns()
    {
        char[] standIns = new char[(int)UnicodeCategory.OtherNotAssigned + 1];
        for (int value = 0; value < char.MaxValue; value++)
        {
            if (!char.IsSurrogate((char)value)) standIns[(int)CharUnicodeInfo.GetUnicodeCategory(value)] = (char)value;
        }
        return standIns;
    }
}
