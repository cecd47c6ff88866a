namespace FastGen.Models.Tokenizers;

/// <summary><c>BPEDecoder</c>: the end-of-word suffix becomes a space, except in the last token, where it vanishes.</summary>
internal sealed class WordSuffixStage(DecodingStage next, string suffix) : WholeTokenStage(next)
{
    private readonly CharacterBuffer _previous = new();
    private bool _hasPrevious;

    /// <inheritdoc/>
    public override void Complete()
    {
        if (_hasPrevious) WritePrevious("");
        Next.Complete();
    }

    /// <inheritdoc/>
    protected override void WriteToken(ReadOnlySpan<char> token)
    {
        if (_hasPrevious) WritePrevious(" ");
        _previous.Clear();
        _previous.Append(token);
        _hasPrevious = true;
    }

    private void WritePrevious(string replacement)
    {
        ReadOnlySpan<char> token = _previous.Written;
        for (int index = token.IndexOf(suffix, StringComparison.Ordinal); index >= 0 && suffix.Length > 0; index = token.IndexOf(suffix, StringComparison.Ordinal))
        {
            Next.Write(token[..index], endOfToken: false);
            Next.Write(replacement, endOfToken: false);
            token = token[(index + suffix.Length)..];
        }
        Next.Write(token, endOfToken: true);
    }
}
