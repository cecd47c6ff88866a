using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>Replaces every match of a pattern by a fixed text.</summary>
internal sealed class ReplaceNormalizer(TextPattern pattern, string content) : TextNormalizer
{
    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        if (pattern is LiteralPattern literal) return text.Replace(literal.Literal, content, StringComparison.Ordinal);
        List<TextMatch> matches = [];
        pattern.FindAll(text, matches);
        if (matches.Count == 0) return text;
        StringBuilder result = new(text.Length);
        int end = 0;
        foreach (TextMatch match in matches)
        {
            result.Append(text, end, match.Start - end).Append(content);
            end = match.End;
        }
        return result.Append(text, end, text.Length - end).ToString();
    }
}
