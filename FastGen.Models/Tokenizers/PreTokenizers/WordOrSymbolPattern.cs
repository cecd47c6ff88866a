namespace FastGen.Models.Tokenizers;

/// <summary><c>\w+|[^\w\s]+</c>: runs of word characters and runs of everything else but white space.</summary>
internal sealed class WordOrSymbolPattern : TextPattern
{
    /// <inheritdoc/>
    public override void FindAll(ReadOnlySpan<char> text, List<TextMatch> matches)
    {
        bool previousIsWord = false;
        for (int index = 0; index < text.Length;)
        {
            CharacterClass classes = CharacterClasses.At(text, index, out int length);
            bool isWord = (classes & CharacterClass.Word) != 0;
            if ((classes & CharacterClass.WhiteSpace) == 0)
            {
                bool joins = matches.Count > 0 && matches[^1].End == index && previousIsWord == isWord;
                if (joins) matches[^1] = matches[^1] with { End = index + length };
                else matches.Add(new TextMatch(index, index + length));
                previousIsWord = isWord;
            }
            index += length;
        }
    }
}
