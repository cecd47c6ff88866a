namespace FastGen.Models.Tokenizers;

/// <summary>Removes white space at the ends, or <paramref name="only"/> that character.</summary>
internal sealed class StripNormalizer(bool left, bool right, char? only = null) : TextNormalizer
{
    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        if (left) text = only is char first ? text.TrimStart(first) : text.TrimStart();
        if (right) text = only is char last ? text.TrimEnd(last) : text.TrimEnd();
        return text;
    }
}
