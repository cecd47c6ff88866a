namespace FastGen.Models.Tokenizers;

/// <summary>Reads added tokens: <c>added_tokens</c> of <c>tokenizer.json</c> and the same objects of <c>tokenizer_config.json</c>.</summary>
internal static class AddedTokenReader
{
    /// <summary>The tokens of an array; none where it is absent.</summary>
    public static IEnumerable<AddedToken> ReadAll(JsonField field) =>
        field.IsPresent ? field.Elements().Select(element => Read(element, element["id"].AsCount())) : [];

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
