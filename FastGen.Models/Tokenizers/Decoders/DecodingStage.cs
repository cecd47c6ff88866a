namespace FastGen.Models.Tokenizers;

/// <summary>
/// One stage between the tokens of a sequence and its text. Tokens arrive in one or more fragments; a stage hands on what can no longer
/// change and keeps the rest. Decoding all at once and decoding as ids arrive are the same code, so they cannot differ.
/// </summary>
internal abstract class DecodingStage(DecodingStage? next)
{
    /// <summary>The stage that receives this one's output.</summary>
    protected DecodingStage Next => next!;

    /// <summary>Takes a fragment; <paramref name="endOfToken"/> closes the token.</summary>
    public abstract void Write(ReadOnlySpan<char> text, bool endOfToken);

    /// <summary>No token follows.</summary>
    public virtual void Complete() => Next.Complete();
}

/// <summary>A stage that looks at whole tokens.</summary>
internal abstract class WholeTokenStage(DecodingStage next) : DecodingStage(next)
{
    private readonly CharacterBuffer _fragments = new();

    /// <inheritdoc/>
    public sealed override void Write(ReadOnlySpan<char> text, bool endOfToken)
    {
        if (endOfToken && _fragments.Written.IsEmpty)
        {
            WriteToken(text);
            return;
        }
        _fragments.Append(text);
        if (!endOfToken) return;
        WriteToken(_fragments.Written);
        _fragments.Clear();
    }

    /// <summary>Takes one token.</summary>
    protected abstract void WriteToken(ReadOnlySpan<char> token);
}

/// <summary>A describer of <see cref="DecodingStage"/>s: immutable, shared by all threads.</summary>
internal abstract class TokenDecoder
{
    /// <summary>A new stage that writes to <paramref name="next"/>.</summary>
    public abstract DecodingStage CreateStage(DecodingStage next);
}

/// <summary>A decoder that consists of one stage.</summary>
internal sealed class StageDecoder(Func<DecodingStage, DecodingStage> create) : TokenDecoder
{
    /// <inheritdoc/>
    public override DecodingStage CreateStage(DecodingStage next) => create(next);
}

/// <summary>Several decoders, one after the other.</summary>
internal sealed class SequenceDecoder(IReadOnlyList<TokenDecoder> decoders) : TokenDecoder
{
    /// <inheritdoc/>
    public override DecodingStage CreateStage(DecodingStage next)
    {
        for (int i = decoders.Count - 1; i >= 0; i--) next = decoders[i].CreateStage(next);
        return next;
    }
}
