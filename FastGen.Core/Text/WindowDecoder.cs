using Microsoft.ML.Tokenizers;

namespace FastGen;

/// <summary>
/// Decodes the ids of any tokenizer as they arrive: a short window of ids is decoded, and what was not given of it before is the new text, up to replacement characters that
/// a later id may make a whole one (after the method of Text Generation Inference). Special tokens are treated as the tokenizer's own <c>Decode</c> treats them.
/// </summary>
internal sealed class WindowDecoder(Tokenizer tokenizer) : IncrementalDecoder
{
    // Three of a character's four bytes: a tokenizer gives one replacement character for them, or one for each.
    private const int LongestUnfinished = 3;

    // Ids after which the window moves on wherever its text ends.
    private const int LongestWait = 8;

    private readonly List<int> _window = [];

    // Ids before the new ones, and characters of the window's text that were given.
    private int _contextCount, _givenLength;

    /// <inheritdoc/>
    public override ReadOnlySpan<char> Append(int id)
    {
        _window.Add(id);
        return TakeText(isComplete: false);
    }

    /// <inheritdoc/>
    public override ReadOnlySpan<char> Complete() => TakeText(isComplete: true);

    private ReadOnlySpan<char> TakeText(bool isComplete)
    {
        string text = Decode();
        int given = _givenLength, unfinished = isComplete ? 0 : UnfinishedLength(text);
        if ((unfinished == 0 && text.Length > given) || _window.Count - _contextCount >= LongestWait)
        {
            _window.RemoveRange(0, _contextCount);
            _contextCount = _window.Count;
            int length = Decode().Length;
            // What lies before the window's new ids never becomes a character.
            if (length < unfinished) unfinished = 0;
            _givenLength = length - unfinished;
        }
        else
        {
            _givenLength = Math.Max(given, text.Length - unfinished);
        }
        return text.Length - unfinished <= given ? [] : text.AsSpan(given, text.Length - unfinished - given);
    }

    private static int UnfinishedLength(string text)
    {
        int length = 0;
        while (length < Math.Min(LongestUnfinished, text.Length) && text[text.Length - 1 - length] == '\uFFFD') length++;
        return length;
    }

    private string Decode() => tokenizer.Decode(_window) ?? "";
}
