using Microsoft.ML.Tokenizers;

namespace FastGen;

/// <summary>
/// Decodes the ids of any tokenizer as they arrive: a short window of ids is decoded with and without the new ones, and the difference is
/// the new text (the method of Text Generation Inference). Special tokens are treated as the tokenizer's own <c>Decode</c> treats them.
/// </summary>
internal sealed class WindowDecoder(Tokenizer tokenizer) : IncrementalDecoder
{
    // A character is at most four tokens of one byte each; what is still no character after twice as many never becomes one.
    private const int LongestWait = 8;

    private readonly List<int> _window = [];
    private int _decodedCount;

    /// <inheritdoc/>
    public override ReadOnlySpan<char> Append(int id)
    {
        _window.Add(id);
        return TakeText(mayWait: _window.Count - _decodedCount < LongestWait);
    }

    /// <inheritdoc/>
    public override ReadOnlySpan<char> Complete() => _window.Count == _decodedCount ? [] : TakeText(mayWait: false);

    private ReadOnlySpan<char> TakeText(bool mayWait)
    {
        string before = _decodedCount == 0 ? "" : tokenizer.Decode(_window.Take(_decodedCount)) ?? "";
        string text = tokenizer.Decode(_window) ?? "";
        if (mayWait && (text.Length <= before.Length || text.EndsWith('\uFFFD'))) return [];
        _window.RemoveRange(0, _decodedCount);
        _decodedCount = _window.Count;
        return text.Length <= before.Length ? [] : text.AsSpan(before.Length);
    }
}
