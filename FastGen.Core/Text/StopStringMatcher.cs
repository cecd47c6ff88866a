namespace FastGen;

/// <summary>
/// Watches a text for stop strings, character by character (Knuth, Morris and Pratt, 1977, once for each string). Of several that end at
/// the same character the longest counts.
/// </summary>
internal sealed class StopStringMatcher
{
    private readonly string[] _stopStrings;
    private readonly int[][] _borders;
    private readonly int[] _matched;

    /// <summary>A matcher that has seen nothing.</summary>
    public StopStringMatcher(IReadOnlyList<string> stopStrings)
    {
        _stopStrings = [.. stopStrings];
        if (_stopStrings.Any(string.IsNullOrEmpty)) throw new ArgumentException("A stop string must not be null or empty.", nameof(stopStrings));
        _borders = [.. _stopStrings.Select(Borders)];
        _matched = new int[_stopStrings.Length];
    }

    /// <summary>How many of the last characters may be the beginning of a stop string.</summary>
    public int PendingLength { get; private set; }

    /// <summary>Takes a character; the stop string that it completes, or null.</summary>
    public string? Append(char character)
    {
        string? completed = null;
        PendingLength = 0;
        for (int i = 0; i < _stopStrings.Length; i++)
        {
            string stopString = _stopStrings[i];
            int matched = _matched[i];
            while (matched > 0 && stopString[matched] != character) matched = _borders[i][matched - 1];
            if (stopString[matched] == character) matched++;
            if (matched == stopString.Length)
            {
                if (completed is null || completed.Length < stopString.Length) completed = stopString;
                matched = _borders[i][matched - 1];
            }
            _matched[i] = matched;
            PendingLength = Math.Max(PendingLength, matched);
        }
        return completed;
    }

    /// <summary>For every prefix the length of its longest proper prefix that is also its suffix.</summary>
    private static int[] Borders(string text)
    {
        int[] borders = new int[text.Length];
        for (int i = 1, border = 0; i < text.Length; i++)
        {
            while (border > 0 && text[border] != text[i]) border = borders[border - 1];
            if (text[border] == text[i]) border++;
            borders[i] = border;
        }
        return borders;
    }
}
