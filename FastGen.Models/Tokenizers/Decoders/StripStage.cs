namespace FastGen.Models.Tokenizers;

/// <summary>Removes up to so many of one character at the start and at the end of every token.</summary>
internal sealed class StripStage(DecodingStage next, char content, int start, int stop) : DecodingStage(next)
{
    private readonly char[] _held = [.. Enumerable.Repeat(content, stop)];
    private int _heldCount;
    private int _stripped;
    private bool _started;

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<char> text, bool endOfToken)
    {
        while (!_started && !text.IsEmpty)
        {
            if (_stripped < start && text[0] == content)
            {
                _stripped++;
                text = text[1..];
            }
            else
            {
                _started = true;
            }
        }

        // The last characters may be the token's end: they wait for what follows.
        ReadOnlySpan<char> body = text.TrimEnd(content);
        int trailing = text.Length - body.Length;
        if (!body.IsEmpty)
        {
            ReleaseHeld(_heldCount);
            Next.Write(body, endOfToken: false);
        }
        for (; trailing > 0; trailing--)
        {
            if (_heldCount == stop) Next.Write([content], endOfToken: false);
            else _heldCount++;
        }
        if (!endOfToken) return;
        _heldCount = 0;
        _stripped = 0;
        _started = false;
        Next.Write([], endOfToken: true);
    }

    private void ReleaseHeld(int count)
    {
        if (count == 0) return;
        Next.Write(_held.AsSpan(0, count), endOfToken: false);
        _heldCount = 0;
    }
}
