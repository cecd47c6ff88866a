namespace FastGen.Models.Tokenizers;

/// <summary>One step that rewrites a text before it is cut into pieces.</summary>
internal abstract class TextNormalizer
{
    /// <summary>The rewritten text; the same instance where nothing changes.</summary>
    public abstract string Normalize(string text);

    /// <summary>What the first character of a text becomes: empty where it is dropped, so that the normalized text begins behind the start of the text.</summary>
    public virtual string NormalizeFirst(string first) => Normalize(first);
}

/// <summary>Several normalizers, one after the other.</summary>
internal sealed class SequenceNormalizer(IReadOnlyList<TextNormalizer> normalizers) : TextNormalizer
{
    /// <inheritdoc/>
    public override string Normalize(string text)
    {
        foreach (TextNormalizer normalizer in normalizers) text = normalizer.Normalize(text);
        return text;
    }

    /// <inheritdoc/>
    public override string NormalizeFirst(string first)
    {
        foreach (TextNormalizer normalizer in normalizers) first = normalizer.NormalizeFirst(first);
        return first;
    }
}
