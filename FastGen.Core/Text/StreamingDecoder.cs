using Microsoft.ML.Tokenizers;

namespace FastGen;

/// <summary>
/// Turns the ids of one sequence into pieces of text as they arrive. A piece never ends inside a character, and nothing of a stop string is
/// ever shown: text that may be the beginning of one is held back until it is known not to be. The pieces together are the text of all ids,
/// cut before the first stop string. For one thread at a time.
/// </summary>
/// <remarks>
/// A token costs amortized constant time and allocates nothing but its piece when the tokenizer is an <see cref="IIncrementalTokenizer"/>.
/// Other tokenizers are decoded in short windows; they decide themselves what becomes of special tokens.
/// </remarks>
public sealed class StreamingDecoder
{
    private readonly IncrementalDecoder _decoder;
    private readonly StopStringMatcher _stopStrings;
    private char[] _held = new char[64];
    private int _heldCount;

    /// <summary>A decoder for one sequence.</summary>
    /// <param name="tokenizer">The tokenizer of the model.</param>
    /// <param name="stopStrings">Texts before which the sequence ends; none may be empty.</param>
    /// <param name="skipSpecialTokens">Special tokens give no text.</param>
    public StreamingDecoder(Tokenizer tokenizer, IReadOnlyList<string>? stopStrings = null, bool skipSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        _decoder = tokenizer is IIncrementalTokenizer incremental ? incremental.CreateIncrementalDecoder(skipSpecialTokens) : new WindowDecoder(tokenizer);
        _stopStrings = new StopStringMatcher(stopStrings ?? []);
    }

    /// <summary>The stop string that ended the text, or null so far.</summary>
    public string? StopString { get; private set; }

    /// <summary>Takes the next id and returns the text that is certain by now, often none.</summary>
    /// <param name="id">The next id.</param>
    /// <param name="stopped">A stop string is complete: the text is at its end and further ids give nothing.</param>
    public string Append(int id, out bool stopped)
    {
        string text = StopString is null ? Take(_decoder.Append(id)) : "";
        stopped = StopString is not null;
        return text;
    }

    /// <summary>No id follows: returns what was held back, up to a stop string if that completes one.</summary>
    public string Flush()
    {
        if (StopString is not null) return "";
        string text = Take(_decoder.Complete());
        return StopString is null ? text + Release(_heldCount) : text;
    }

    private string Take(ReadOnlySpan<char> text)
    {
        foreach (char character in text)
        {
            if (_heldCount == _held.Length) Array.Resize(ref _held, _heldCount * 2);
            _held[_heldCount++] = character;
            StopString = _stopStrings.Append(character);
            if (StopString is null) continue;
            string last = Release(_heldCount - StopString.Length);
            _heldCount = 0;
            return last;
        }
        return Release(_heldCount - _stopStrings.PendingLength);
    }

    private string Release(int count)
    {
        if (count == 0) return "";
        string text = new(_held, 0, count);
        _heldCount -= count;
        _held.AsSpan(count, _heldCount).CopyTo(_held);
        return text;
    }
}
