namespace FastGen.Models.Tokenizers;

/// <summary>Turns SentencePiece's visible spaces back; those of the first token vanish if they were put there.</summary>
internal sealed class MetaspaceStage(DecodingStage next, char replacement, bool dropInFirstToken) : WholeTokenStage(next)
{
    private bool _isFirst = true;

    /// <inheritdoc/>
    protected override void WriteToken(ReadOnlySpan<char> token)
    {
        for (int index = token.IndexOf(replacement); index >= 0; index = token.IndexOf(replacement))
        {
            Next.Write(token[..index], endOfToken: false);
            if (!_isFirst || !dropInFirstToken) Next.Write(" ", endOfToken: false);
            token = token[(index + 1)..];
        }
        _isFirst = false;
        Next.Write(token, endOfToken: true);
    }
}
