namespace FastGen.Models.Tokenizers;

/// <summary>Turns one pre-tokenized piece into token ids. Safe for many threads at once.</summary>
internal abstract class TokenModel(Vocabulary vocabulary)
{
    /// <summary>The model's own tokens, without added ones.</summary>
    public Vocabulary Vocabulary { get; } = vocabulary;

    /// <summary>Appends the ids of <paramref name="piece"/>, which is not empty and well-formed UTF-16.</summary>
    public abstract void Tokenize(ReadOnlySpan<char> piece, TokenSink sink);
}
