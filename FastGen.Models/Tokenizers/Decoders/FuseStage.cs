namespace FastGen.Models.Tokenizers;

/// <summary>Makes all tokens one.</summary>
internal sealed class FuseStage(DecodingStage next) : DecodingStage(next)
{
    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<char> text, bool endOfToken)
    {
        if (!text.IsEmpty) Next.Write(text, endOfToken: false);
    }

    /// <inheritdoc/>
    public override void Complete()
    {
        Next.Write([], endOfToken: true);
        Next.Complete();
    }
}
