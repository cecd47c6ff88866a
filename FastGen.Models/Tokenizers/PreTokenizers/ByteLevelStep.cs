using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>GPT-2's: cuts into words if asked, and writes every byte as a character of <see cref="ByteAlphabet"/>.</summary>
/// <param name="addPrefixSpace">Puts a space before a piece that does not begin with one.</param>
/// <param name="useWords">Cuts into the words of <see cref="Gpt2WordPattern"/>.</param>
/// <param name="writeAlphabet">False leaves the last part to the model (<see cref="BytePairModel.PieceIsRaw"/>).</param>
internal sealed class ByteLevelStep(bool addPrefixSpace, bool useWords, bool writeAlphabet = true) : PreTokenizationStep
{
    /// <summary>The same step without the alphabet.</summary>
    public ByteLevelStep WithoutAlphabet() => new(addPrefixSpace, useWords, writeAlphabet: false);

    /// <summary>True when the step, without the alphabet, changes nothing.</summary>
    public bool OnlyWritesAlphabet => !addPrefixSpace && !useWords;

    /// <summary>The words that the step cuts, when it does nothing else but write the alphabet.</summary>
    public WordPattern? Words => !addPrefixSpace && useWords ? Gpt2WordPattern.Instance : null;

    /// <inheritdoc/>
    public override void Apply(PreTokenizedText text)
    {
        if (addPrefixSpace) text.Rewrite(AddSpace);
        if (useWords) text.Split(Gpt2WordPattern.Instance, SplitBehavior.Isolated, invert: false);
        if (writeAlphabet) text.Rewrite(WriteAlphabet);
    }

    private static void AddSpace(PreTokenizedText.Rewriter rewriter, TextMatch piece)
    {
        ReadOnlySpan<char> characters = rewriter.Source[piece];
        if (characters[0] != ' ') rewriter.Append(' ', piece.Start);
        for (int i = 0; i < characters.Length; i++) rewriter.Append(characters[i], piece.Start + i);
    }

    private static void WriteAlphabet(PreTokenizedText.Rewriter rewriter, TextMatch piece)
    {
        ReadOnlySpan<char> characters = rewriter.Source[piece];
        Span<byte> utf8 = stackalloc byte[4];
        for (int index = 0; index < characters.Length;)
        {
            Rune.DecodeFromUtf16(characters[index..], out Rune rune, out int consumed);
            int length = rune.EncodeToUtf8(utf8);
            for (int i = 0; i < length; i++) rewriter.Append(ByteAlphabet.ToCharacter(utf8[i]), piece.Start + index);
            index += consumed;
        }
    }
}
