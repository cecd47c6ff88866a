namespace FastGen;

/// <summary>A token and how likely the model held it: the log-softmax of its logits, before penalties, temperature and all that drops tokens.</summary>
/// <param name="TokenId">The id; its text is the tokenizer's to tell.</param>
/// <param name="LogProbability">Natural logarithm of its probability, at most 0.</param>
public readonly record struct TokenLogProbability(int TokenId, float LogProbability);

/// <summary>What the model held likely at the place of one generated token.</summary>
/// <param name="Chosen">The generated token.</param>
/// <param name="Top">The most likely tokens, by falling probability, lower ids first among equals: as many as were asked for, or as the vocabulary has.</param>
public sealed record TokenLogProbabilities(TokenLogProbability Chosen, IReadOnlyList<TokenLogProbability> Top)
{
    // A row as a backend fills it: the drawn token, then the most likely ones.
    internal static TokenLogProbabilities FromRow(ReadOnlySpan<TokenLogProbability> row) => new(row[0], row[1..].ToArray());
}
