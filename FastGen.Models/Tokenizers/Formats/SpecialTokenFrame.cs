namespace FastGen.Models.Tokenizers;

/// <summary>The special tokens around a text that <c>add_bos_token</c> and <c>add_eos_token</c> ask for.</summary>
internal static class SpecialTokenFrame
{
    /// <summary>A post-processor that puts the tokens around a text; null for none. Tokens that nothing knows are left out.</summary>
    public static PostProcessor? Create(Vocabulary vocabulary, string? before, string? behind, IReadOnlyList<AddedToken>? addedTokens = null)
    {
        int[] beforeIds = Ids(before);
        int[] behindIds = Ids(behind);
        return beforeIds.Length + behindIds.Length == 0 ? null : new TemplatePostProcessor([beforeIds, null, behindIds]);

        int[] Ids(string? token)
        {
            if (token is null) return [];
            int id = addedTokens?.FirstOrDefault(added => added.Content == token)?.Id ?? vocabulary.IdOf(token);
            return id >= 0 ? [id] : [];
        }
    }
}
