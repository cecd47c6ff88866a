namespace FastGen.Models.Tokenizers;

/// <summary>Where <see cref="MetaspaceStep"/> puts its character before a text that does not begin with it.</summary>
internal enum PrependScheme
{
    /// <summary>Nowhere.</summary>
    Never,

    /// <summary>At the start of the document only, not behind an added token.</summary>
    First,

    /// <summary>Before every piece.</summary>
    Always,
}

/// <summary>SentencePiece's: a visible character for each space, and a cut before each of them if asked.</summary>
internal sealed class MetaspaceStep(char replacement, PrependScheme scheme, bool split) : PreTokenizationStep
{
    private readonly LiteralPattern _pattern = new(replacement.ToString());

    /// <inheritdoc/>
    public override void Apply(PreTokenizedText text)
    {
        text.Rewrite(ReplaceSpaces);
        if (split) text.Split(_pattern, SplitBehavior.MergedWithNext, invert: false);
    }

    private void ReplaceSpaces(PreTokenizedText.Rewriter rewriter, TextMatch piece)
    {
        ReadOnlySpan<char> characters = rewriter.Source[piece];
        bool mayPrepend = scheme == PrependScheme.Always
            || (scheme == PrependScheme.First && rewriter.Source.StartsDocument && rewriter.Source.OriginOf(piece.Start) == 0);
        if (mayPrepend && characters[0] != ' ' && characters[0] != replacement) rewriter.Append(replacement, piece.Start);
        for (int i = 0; i < characters.Length; i++) rewriter.Append(characters[i] == ' ' ? replacement : characters[i], piece.Start + i);
    }
}
