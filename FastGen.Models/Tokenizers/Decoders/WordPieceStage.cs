using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>Joins WordPiece tokens: a continuing one loses its prefix, any other gets a space before it.</summary>
internal sealed class WordPieceStage(DecodingStage next, string prefix, bool cleanUp) : WholeTokenStage(next)
{
    private bool _isFirst = true;

    /// <inheritdoc/>
    protected override void WriteToken(ReadOnlySpan<char> token)
    {
        StringBuilder text = new();
        if (_isFirst) text.Append(token);
        else if (token.StartsWith(prefix, StringComparison.Ordinal)) text.Append(token[prefix.Length..]);
        else text.Append(' ').Append(token);
        _isFirst = false;
        if (cleanUp)
        {
            text.Replace(" .", ".").Replace(" ?", "?").Replace(" !", "!").Replace(" ,", ",").Replace(" ' ", "'").Replace(" n't", "n't")
                .Replace(" 'm", "'m").Replace(" do not", " don't").Replace(" 's", "'s").Replace(" 've", "'ve").Replace(" 're", "'re");
        }
        Next.Write(text.ToString(), endOfToken: true);
    }
}
