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
    // Oniguruma's ^ and $ are the ends of lines.
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
        _ => new RegexPattern(Compile(OnigurumaSyntax.ToDotNet(expression))),
    };

    /// <inheritdoc/>
    public override void FindAll(ReadOnlySpan<char> text, List<TextMatch> matches)
    {
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
        {
            foreach (ValueMatch match in _regex.EnumerateMatches(text)) matches.Add(new TextMatch(match.Index, match.Index + match.Length));
            return;
        }
        char[] standIns = ArrayPool<char>.Shared.Rent(text.Length);
        int[] origins = ArrayPool<int>.Shared.Rent(text.Length + 1);
        int count = 0;
        for (int index = 0; index < text.Length; count++)
        {
            Rune.DecodeFromUtf16(text[index..], out Rune rune, out int consumed);
            standIns[count] = rune.IsBmp ? (char)rune.Value : StandIns[(int)Rune.GetUnicodeCategory(rune)];
            origins[count] = index;
            index += consumed;
        }
        origins[count] = text.Length;
        foreach (ValueMatch match in _regex.EnumerateMatches(standIns.AsSpan(0, count)))
        {
            matches.Add(new TextMatch(origins[match.Index], origins[match.Index + match.Length]));
        }
        ArrayPool<char>.Shared.Return(standIns);
        ArrayPool<int>.Shared.Return(origins);
    }

    private static Regex Compile(string expression)
    {
        try
        {
            return new Regex(expression, Options | RegexOptions.NonBacktracking, LongestMatch);
        }
        catch (NotSupportedException)
        {
            // Look-around and atomic groups need the backtracking engine; the time limit bounds it.
            return new Regex(expression, Options, LongestMatch);
        }
    }

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
