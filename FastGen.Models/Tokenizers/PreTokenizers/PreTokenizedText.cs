using System.Runtime.InteropServices;

namespace FastGen.Models.Tokenizers;

/// <summary>A text cut into pieces. Pre-tokenizers cut the pieces further, drop some, or rewrite them.</summary>
internal sealed class PreTokenizedText
{
    private readonly List<TextMatch> _matches = [];
    private ReadOnlyMemory<char> _text;
    private int[]? _origins;
    private List<TextMatch> _pieces = [];
    private List<TextMatch> _nextPieces = [];

    /// <summary>A text of one piece. <paramref name="startsDocument"/>: nothing of the document comes before it.</summary>
    public PreTokenizedText(ReadOnlyMemory<char> text, bool startsDocument)
    {
        _text = text;
        StartsDocument = startsDocument;
        if (!text.IsEmpty) _pieces.Add(new TextMatch(0, text.Length));
    }

    /// <summary>True when nothing of the document comes before this text.</summary>
    public bool StartsDocument { get; }

    /// <summary>The pieces from left to right; none is empty.</summary>
    public ReadOnlySpan<TextMatch> Pieces => CollectionsMarshal.AsSpan(_pieces);

    /// <summary>The characters of a piece.</summary>
    public ReadOnlySpan<char> this[TextMatch piece] => _text.Span[piece.Start..piece.End];

    /// <summary>Where the character at <paramref name="index"/> of the rewritten text comes from in the original one.</summary>
    public int OriginOf(int index) => _origins is null ? index : _origins[index];

    /// <summary>Splits every piece at the pattern's matches, or at what lies between them.</summary>
    public void Split(TextPattern pattern, SplitBehavior behavior, bool invert)
    {
        ReadOnlySpan<char> text = _text.Span;
        foreach (TextMatch piece in _pieces)
        {
            _matches.Clear();
            pattern.FindAll(text[piece.Start..piece.End], _matches);
            AddSplits(piece, behavior, invert);
        }
        (_pieces, _nextPieces) = (_nextPieces, _pieces);
        _nextPieces.Clear();
    }

    /// <summary>Rewrites every piece; <paramref name="rewrite"/> appends its characters to the <see cref="Rewriter"/>.</summary>
    public void Rewrite(Action<Rewriter, TextMatch> rewrite)
    {
        Rewriter rewriter = new(this);
        foreach (TextMatch piece in _pieces)
        {
            int start = rewriter.Characters.Count;
            rewrite(rewriter, piece);
            if (rewriter.Characters.Count > start) _nextPieces.Add(new TextMatch(start, rewriter.Characters.Count));
        }
        rewriter.Origins.Add(OriginOf(_text.Length));
        _text = rewriter.Characters.ToArray();
        _origins = [.. rewriter.Origins];
        (_pieces, _nextPieces) = (_nextPieces, _pieces);
        _nextPieces.Clear();
    }

    private void AddSplits(TextMatch piece, SplitBehavior behavior, bool invert)
    {
        int first = _nextPieces.Count;
        bool previousIsMatch = false;
        bool hasEmptyMatch = false;
        int end = 0;
        int length = piece.End - piece.Start;
        for (int i = 0; i <= _matches.Count; i++)
        {
            TextMatch match = i < _matches.Count ? _matches[i] : new TextMatch(length, length);
            if (end < match.Start) Add(piece.Start + end, piece.Start + match.Start, invert);
            // An empty match is a piece while the others are joined, so that it can keep them apart.
            hasEmptyMatch |= i < _matches.Count && match.Start == match.End;
            if (i < _matches.Count) Add(piece.Start + match.Start, piece.Start + match.End, !invert);
            end = match.End;
        }
        if (hasEmptyMatch) RemoveEmptyPieces(first);

        void Add(int start, int stop, bool isMatch)
        {
            bool hasPrevious = _nextPieces.Count > first;
            bool joins = hasPrevious && behavior switch
            {
                SplitBehavior.MergedWithPrevious => isMatch && !previousIsMatch,
                SplitBehavior.MergedWithNext => !isMatch && previousIsMatch,
                SplitBehavior.Contiguous => isMatch == previousIsMatch,
                _ => false,
            };
            if (joins) _nextPieces[^1] = _nextPieces[^1] with { End = stop };
            else if (!isMatch || behavior != SplitBehavior.Removed) _nextPieces.Add(new TextMatch(start, stop));
            previousIsMatch = isMatch;
        }
    }

    private void RemoveEmptyPieces(int first)
    {
        int kept = first;
        for (int i = first; i < _nextPieces.Count; i++)
        {
            if (_nextPieces[i].Start < _nextPieces[i].End) _nextPieces[kept++] = _nextPieces[i];
        }
        _nextPieces.RemoveRange(kept, _nextPieces.Count - kept);
    }

    /// <summary>Collects the rewritten characters and where each comes from.</summary>
    internal sealed class Rewriter(PreTokenizedText source)
    {
        /// <summary>The characters so far.</summary>
        public List<char> Characters { get; } = [];

        /// <summary>For each character its place in the original text.</summary>
        public List<int> Origins { get; } = [];

        /// <summary>The text that is rewritten.</summary>
        public PreTokenizedText Source { get; } = source;

        /// <summary>Appends a character that stands for the one at <paramref name="index"/> of the source.</summary>
        public void Append(char character, int index)
        {
            Characters.Add(character);
            Origins.Add(Source.OriginOf(index));
        }
    }
}
