using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// From text to ids: added tokens are cut out, the text between them is normalized, added tokens that match normalized text are cut out,
/// and what is left is pre-tokenized and given to the model.
/// </summary>
internal sealed class EncodingPipeline
{
    private readonly TextNormalizer? _normalizer;
    private readonly IReadOnlyList<PreTokenizationStep> _steps;
    private readonly TokenModel _model;
    private readonly WordPattern? _words;
    private readonly AddedTokenMatcher _addedTokens;
    private readonly AddedTokenMatcher _normalizedAddedTokens;

    /// <summary>The pipeline of a tokenizer.</summary>
    public EncodingPipeline(TokenizerDefinition definition)
    {
        _normalizer = definition.Normalizer;
        (_steps, _model) = JoinAlphabet(definition.PreTokenization, definition.Model);
        _words = _steps switch
        {
            [SplitStep split] => split.Words,
            [ByteLevelStep byteLevel] when _model is BytePairModel { PieceIsRaw: true } => byteLevel.Words,
            _ => null,
        };
        // Special tokens come first: of two equal texts the first wins.
        ILookup<bool, AddedToken> tokens = definition.AddedTokens.OrderBy(token => !token.IsSpecial).ToLookup(token => token.IsNormalized);
        _addedTokens = new AddedTokenMatcher(tokens[false].Select(token => (token.Content, token)));
        _normalizedAddedTokens = new AddedTokenMatcher(tokens[true].Select(token => (Normalize(token.Content), token)));
    }

    /// <summary>Appends the tokens of <paramref name="text"/> and returns the normalized text that their offsets refer to.</summary>
    public string Encode(string text, TokenSink sink, bool normalize = true, bool preTokenize = true)
    {
        text = WellFormed(text);
        List<AddedTokenMatcher.Section> sections = [];
        _addedTokens.Cut(text, sections);
        if (sections is [{ Token: null }])
        {
            string whole = normalize ? Normalize(text) : text;
            EncodeNormalized(whole, 0, startsDocument: !normalize || KeepsStart(text), preTokenize, sink);
            return whole;
        }
        StringBuilder normalized = new(text.Length);
        int written = 0;
        foreach (AddedTokenMatcher.Section section in sections)
        {
            if (section.Token is { } token)
            {
                // The token before may have taken some of the same white space, which is written once.
                int shared = Math.Max(0, written - section.Start);
                AddToken(token, normalized.Length - shared, section.End - section.Start, sink);
                written = Math.Max(written, section.End);
                normalized.Append(text, section.Start + shared, written - section.Start - shared);
                continue;
            }
            string given = text[section.Start..section.End], part = normalize ? Normalize(given) : given;
            EncodeNormalized(part, normalized.Length, startsDocument: section.Start == 0 && (!normalize || KeepsStart(given)), preTokenize, sink);
            normalized.Append(part);
            written = section.End;
        }
        return normalized.ToString();
    }

    /// <summary>Where the last step writes the alphabet of bytes, the model can take the plain text instead.</summary>
    private static (IReadOnlyList<PreTokenizationStep> Steps, TokenModel Model) JoinAlphabet(IReadOnlyList<PreTokenizationStep> steps, TokenModel model)
    {
        if (steps.Count == 0 || steps[^1] is not ByteLevelStep last || model is not BytePairModel bytePair || bytePair.WithRawPieces() is not { } raw) return (steps, model);
        IEnumerable<PreTokenizationStep> before = steps.Take(steps.Count - 1);
        return ([.. last.OnlyWritesAlphabet ? before : before.Append(last.WithoutAlphabet())], raw);
    }

    private string Normalize(string text) => _normalizer is null ? text : _normalizer.Normalize(text);

    private bool KeepsStart(string text) =>
        _normalizer is null || text.Length == 0 || _normalizer.NormalizeFirst(text[..(char.IsHighSurrogate(text[0]) ? 2 : 1)]).Length > 0;

    private void EncodeNormalized(string text, int offset, bool startsDocument, bool preTokenize, TokenSink sink)
    {
        List<AddedTokenMatcher.Section> sections = [];
        _normalizedAddedTokens.Cut(text, sections);
        foreach (AddedTokenMatcher.Section section in sections)
        {
            int start = offset + section.Start;
            if (section.Token is { } token) AddToken(token, start, section.End - section.Start, sink);
            else EncodePlain(text.AsMemory(section.Start..section.End), start, startsDocument && section.Start == 0, preTokenize, sink);
        }
    }

    private void EncodePlain(ReadOnlyMemory<char> text, int offset, bool startsDocument, bool preTokenize, TokenSink sink)
    {
        if (_words is not null && preTokenize && sink.Offsets is null)
        {
            EncodeWords(text.Span, _words, sink);
            return;
        }
        PreTokenizedText pieces = new(text, startsDocument);
        if (preTokenize)
        {
            foreach (PreTokenizationStep step in _steps) step.Apply(pieces);
        }
        foreach (TextMatch piece in pieces.Pieces)
        {
            _model.Tokenize(pieces[piece], sink);
            sink.EndPiece(pieces[piece], index => offset + pieces.OriginOf(piece.Start + index));
        }
    }

    private void EncodeWords(ReadOnlySpan<char> text, WordPattern words, TokenSink sink)
    {
        for (int start = 0; start < text.Length;)
        {
            int end = words.EndOfWord(text, start);
            _model.Tokenize(text[start..end], sink);
            start = end;
        }
    }

    private static void AddToken(AddedToken token, int start, int length, TokenSink sink)
    {
        sink.Ids.Add(token.Id);
        sink.Offsets?.Add(start..(start + length));
    }

    private static string WellFormed(string text)
    {
        int surrogate = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF');
        if (surrogate < 0) return text;
        for (int index = surrogate; index < text.Length; index++)
        {
            if (!char.IsSurrogate(text[index])) continue;
            if (!Rune.TryGetRuneAt(text, index, out _)) return Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
            index++;
        }
        return text;
    }
}
