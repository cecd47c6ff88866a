namespace FastGen.Models.Tokenizers;

/// <summary>Replaces every match of a pattern inside a token by a fixed text.</summary>
internal sealed class ReplaceStage(DecodingStage next, TextPattern pattern, string content) : WholeTokenStage(next)
{
    private readonly List<TextMatch> _matches = [];

    /// <inheritdoc/>
    protected override void WriteToken(ReadOnlySpan<char> token)
    {
        _matches.Clear();
        pattern.FindAll(token, _matches);
        int end = 0;
        foreach (TextMatch match in _matches)
        {
            Next.Write(token[end..match.Start], endOfToken: false);
            Next.Write(content, endOfToken: false);
            end = match.End;
        }
        Next.Write(token[end..], endOfToken: true);
    }
}

/// <summary>Replaces one character inside tokens, fragment by fragment.</summary>
internal sealed class ReplaceCharacterStage(DecodingStage next, char character, string content) : DecodingStage(next)
{
    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<char> text, bool endOfToken)
    {
        for (int index = text.IndexOf(character); index >= 0; index = text.IndexOf(character))
        {
            if (index > 0) Next.Write(text[..index], endOfToken: false);
            Next.Write(content, endOfToken: false);
            text = text[(index + 1)..];
        }
        Next.Write(text, endOfToken);
    }
}
