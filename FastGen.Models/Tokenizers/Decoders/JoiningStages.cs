namespace FastGen.Models.Tokenizers;

/// <summary>What a tokenizer without decoder does: a space between tokens.</summary>
internal sealed class JoinWithSpacesStage(DecodingStage next) : DecodingStage(next)
{
    private bool _needsSpace;

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<char> text, bool endOfToken)
    {
        if (_needsSpace) Next.Write(" ", endOfToken: false);
        _needsSpace = endOfToken;
        Next.Write(text, endOfToken: false);
    }
}

/// <summary>The end of the chain: the text, in a buffer.</summary>
internal sealed class TextStage(CharacterBuffer text) : DecodingStage(null)
{
    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<char> fragment, bool endOfToken) => text.Append(fragment);

    /// <inheritdoc/>
    public override void Complete()
    {
    }
}
