namespace FastGen.Models.Tokenizers;

/// <summary>Reads added tokens: <c>added_tokens</c> of <c>tokenizer.json</c> and the same objects of <c>tokenizer_config.json</c>.</summary>
internal static class AddedTokenReader
{
    /// <summary>
    /// The tokens of an array; none where it is absent. As in Hugging Face's reader a token of the vocabulary keeps its id there, and the
    /// others follow the vocabulary in order, whatever ids the file gives them. Of two tokens with the same content the last counts.
    /// </summary>
    public static IReadOnlyList<AddedToken> ReadAll(JsonField field, TokenModel model)
    {
        if (!field.IsPresent) return [];
        OrderedDictionary<string, AddedToken> tokens = new(StringComparer.Ordinal);
        int nextId = model.VocabularySize;
        foreach (AddedToken token in field.Elements().Select(element => Read(element, element["id"].AsCount())))
        {
            if (token.Content.Length == 0) continue;
            int id = tokens.TryGetValue(token.Content, out AddedToken? earlier) ? earlier.Id : model.Vocabulary.IdOf(token.Content);
            if (id < 0) id = nextId;
            nextId = Math.Max(nextId, id + 1);
            tokens[token.Content] = token with { Id = id };
        }
        return [.. tokens.Values];
    }

    /// <summary>One token.</summary>
    public static AddedToken Read(JsonField field, int id)
    {
        bool special = field["special"].AsBoolean(false);
        return new AddedToken
        {
            Content = field["content"].AsString(),
            Id = id,
            IsSpecial = special,
            IsNormalized = field["normalized"].AsBoolean(!special),
            StripsLeft = field["lstrip"].AsBoolean(false),
            StripsRight = field["rstrip"].AsBoolean(false),
            IsSingleWord = field["single_word"].AsBoolean(false),
        };
    }
}
