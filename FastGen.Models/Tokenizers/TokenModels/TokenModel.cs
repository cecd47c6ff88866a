namespace FastGen.Models.Tokenizers;

/// <summary>Turns one pre-tokenized piece into token ids. Safe for many threads at once.</summary>
internal abstract class TokenModel(Vocabulary vocabulary)
{
    /// <summary>The model's own tokens, without added ones.</summary>
    public Vocabulary Vocabulary { get; } = vocabulary;

    /// <summary>The number of the model's own tokens; added ones that it lacks get the ids from here on.</summary>
    public virtual int VocabularySize => Vocabulary.Count;

    /// <summary>Appends the ids of <paramref name="piece"/>, which is not empty and well-formed UTF-16.</summary>
    public abstract void Tokenize(ReadOnlySpan<char> piece, TokenSink sink);

    /// <summary>The id of the token for what the vocabulary lacks. Files may name one that it lacks too; only a text that needs it is refused.</summary>
    protected int UnknownId(string unknownToken)
    {
        int id = Vocabulary.IdOf(unknownToken);
        return id >= 0 ? id : throw new InvalidOperationException(
            $"The text has something that the vocabulary lacks, and so is the token for it, '{unknownToken}' (the tokenizer's model.unk_token).");
    }
}
