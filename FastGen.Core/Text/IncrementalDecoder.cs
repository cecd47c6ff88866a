namespace FastGen;

/// <summary>A tokenizer that can decode ids as they arrive, exactly as it decodes them all at once.</summary>
public interface IIncrementalTokenizer
{
    /// <summary>A decoder for one sequence. <paramref name="skipSpecialTokens"/>: special tokens give no text.</summary>
    IncrementalDecoder CreateIncrementalDecoder(bool skipSpecialTokens);
}

/// <summary>
/// Turns the ids of one sequence into text as they arrive. It hands on only what no later id can change: never half a character.
/// For one thread at a time.
/// </summary>
public abstract class IncrementalDecoder
{
    /// <summary>Takes the next id. The text it completes is valid until the next call.</summary>
    public abstract ReadOnlySpan<char> Append(int id);

    /// <summary>No id follows: what was held back. The decoder takes no further ids.</summary>
    public abstract ReadOnlySpan<char> Complete();
}
