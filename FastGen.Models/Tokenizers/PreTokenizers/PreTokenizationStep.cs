namespace FastGen.Models.Tokenizers;

/// <summary>One step that cuts a normalized text into the pieces that the model sees.</summary>
internal abstract class PreTokenizationStep
{
    /// <summary>Cuts or rewrites the pieces of <paramref name="text"/>.</summary>
    public abstract void Apply(PreTokenizedText text);
}

/// <summary>Splits at a pattern: <c>Split</c>, <c>Digits</c>, <c>Punctuation</c>, <c>Whitespace</c> and <c>WhitespaceSplit</c>.</summary>
internal sealed class SplitStep(TextPattern pattern, SplitBehavior behavior, bool invert = false) : PreTokenizationStep
{
    /// <summary>The pattern, when the step does nothing but cut the text into its words; else null.</summary>
    public WordPattern? Words => behavior == SplitBehavior.Isolated && !invert ? pattern as WordPattern : null;

    /// <inheritdoc/>
    public override void Apply(PreTokenizedText text) => text.Split(pattern, behavior, invert);
}

/// <summary><c>BertPreTokenizer</c>: white space separates, punctuation stands alone.</summary>
internal sealed class BertStep : PreTokenizationStep
{
    private static readonly CharacterClassPattern WhiteSpace = new(CharacterClass.WhiteSpace, joinRuns: false);
    private static readonly CharacterClassPattern Punctuation = new(CharacterClass.Punctuation, joinRuns: false);

    /// <inheritdoc/>
    public override void Apply(PreTokenizedText text)
    {
        text.Split(WhiteSpace, SplitBehavior.Removed, invert: false);
        text.Split(Punctuation, SplitBehavior.Isolated, invert: false);
    }
}
