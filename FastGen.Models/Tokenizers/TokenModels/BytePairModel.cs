using System.Buffers;
using System.Globalization;
using System.Text;
using Symbol = FastGen.Models.Tokenizers.BytePairMerger.Symbol;

namespace FastGen.Models.Tokenizers;

/// <summary>What a byte-pair model does besides merging; the names are those of <c>tokenizer.json</c>.</summary>
internal sealed record BytePairOptions
{
    /// <summary>The token that stands for a character the vocabulary lacks; null drops the character.</summary>
    public string? UnknownToken { get; init; }

    /// <summary>Neighbouring unknown characters share one unknown token.</summary>
    public bool FuseUnknown { get; init; }

    /// <summary>A character the vocabulary lacks becomes the tokens <c>&lt;0xNN&gt;</c> of its UTF-8 bytes.</summary>
    public bool ByteFallback { get; init; }

    /// <summary>A piece that is a token as a whole stays whole, whatever the merges say.</summary>
    public bool IgnoreMerges { get; init; }

    /// <summary>Put before every character but the first of a piece.</summary>
    public string ContinuingSubwordPrefix { get; init; } = "";

    /// <summary>Put after the last character of a piece.</summary>
    public string EndOfWordSuffix { get; init; } = "";
}

/// <summary>Byte-pair encoding over characters, or over bytes where the pieces are in the alphabet of <see cref="ByteAlphabet"/>.</summary>
internal sealed class BytePairModel : TokenModel
{
    private const int StackSymbols = 128;
    private const int NoId = -1;
    private const char VisibleSpace = '\u2581';

    private readonly MergeTable _merges;
    private readonly BytePairOptions _options;
    private readonly WordCache _cache = new();
    private readonly int[] _byteFallbackIds = new int[256];
    private readonly int[] _alphabetIds = new int[256];
    private readonly bool _wordsAreIndependent;

    /// <summary>A model over the tokens and merges; <paramref name="pieceIsRaw"/> as for <see cref="WithRawPieces"/>.</summary>
    public BytePairModel(Vocabulary vocabulary, MergeTable merges, BytePairOptions options, bool pieceIsRaw = false) : base(vocabulary)
    {
        _merges = merges;
        _options = options;
        PieceIsRaw = pieceIsRaw;
        for (int value = 0; value < 256; value++)
        {
            _byteFallbackIds[value] = vocabulary.IdOf(string.Create(CultureInfo.InvariantCulture, $"<0x{value:X2}>"));
            _alphabetIds[value] = vocabulary.IdOf([ByteAlphabet.ToCharacter((byte)value)]);
        }
        _wordsAreIndependent = !pieceIsRaw && !IsDecorated && !options.IgnoreMerges && NoTokenSpansWords(vocabulary);
    }

    /// <summary>True when pieces are plain text that the model itself turns into the alphabet of bytes.</summary>
    public bool PieceIsRaw { get; }

    /// <summary>
    /// The same model for pieces that were not yet turned into the alphabet of bytes, or null when it needs them so: that saves
    /// writing every piece a second time.
    /// </summary>
    public BytePairModel? WithRawPieces()
    {
        return !IsDecorated && !_alphabetIds.Contains(NoId) ? new BytePairModel(Vocabulary, _merges, _options, pieceIsRaw: true) : null;
    }

    private bool IsDecorated => _options.ContinuingSubwordPrefix.Length > 0 || _options.EndOfWordSuffix.Length > 0;

    /// <inheritdoc/>
    public override void Tokenize(ReadOnlySpan<char> piece, TokenSink sink)
    {
        while (_wordsAreIndependent && EndOfFirstWord(piece) is int end && end < piece.Length)
        {
            TokenizeWord(piece[..end], sink);
            piece = piece[end..];
        }
        TokenizeWord(piece, sink);
    }

    /// <summary>
    /// True when no token has a visible space behind another character. Then no merge reaches across the start of a word, and the words of
    /// a whole text can be encoded one by one, which the cache makes cheap.
    /// </summary>
    private static bool NoTokenSpansWords(Vocabulary vocabulary)
    {
        if (vocabulary.IdOf([VisibleSpace]) < 0) return false;
        Span<byte> space = stackalloc byte[3];
        Encoding.UTF8.GetBytes([VisibleSpace], space);
        for (int id = 0; id < vocabulary.IdLimit; id++)
        {
            ReadOnlySpan<byte> token = vocabulary.Utf8Of(id);
            while (token.StartsWith(space)) token = token[space.Length..];
            if (token.IndexOf(space) >= 0) return false;
        }
        return true;
    }

    private static int EndOfFirstWord(ReadOnlySpan<char> piece)
    {
        int letters = piece.IndexOfAnyExcept(VisibleSpace);
        int next = letters < 0 ? -1 : piece[letters..].IndexOf(VisibleSpace);
        return next < 0 ? piece.Length : letters + next;
    }

    private void TokenizeWord(ReadOnlySpan<char> piece, TokenSink sink)
    {
        bool cacheable = sink.Offsets is null && piece.Length <= WordCache.LongestWord;
        int slot = 0;
        if (cacheable && _cache.Find(piece, out slot) is { } known)
        {
            sink.Ids.AddRange(known);
            return;
        }
        int first = sink.Ids.Count;
        Encode(piece, sink);
        if (cacheable) _cache.Set(slot, piece, [.. sink.Ids[first..]]);
    }

    private void Encode(ReadOnlySpan<char> piece, TokenSink sink)
    {
        int byteCount = Encoding.UTF8.GetByteCount(piece);
        if (_options.IgnoreMerges && WholePieceId(piece) is int whole and not NoId)
        {
            sink.Add(whole, byteCount);
            return;
        }
        Symbol[]? rented = null;
        int limit = IsDecorated ? Encoding.UTF8.GetMaxByteCount(piece.Length * (1 + _options.ContinuingSubwordPrefix.Length + _options.EndOfWordSuffix.Length)) : byteCount;
        Span<Symbol> symbols = limit <= StackSymbols ? stackalloc Symbol[StackSymbols] : (rented = ArrayPool<Symbol>.Shared.Rent(limit));
        int count = PieceIsRaw ? ReadBytes(piece, symbols) : ReadCharacters(piece, symbols);
        count = BytePairMerger.Merge(symbols[..count], _merges);
        foreach (Symbol symbol in symbols[..count]) sink.Add(symbol.Id, symbol.ByteLength);
        if (rented is not null) ArrayPool<Symbol>.Shared.Return(rented);
    }

    private int WholePieceId(ReadOnlySpan<char> piece)
    {
        if (!PieceIsRaw) return Vocabulary.IdOf(piece);
        const int LongestToken = 256;
        if (piece.Length > LongestToken) return NoId;
        Span<byte> mapped = stackalloc byte[LongestToken * 6];
        return Vocabulary.IdOf(mapped[..ByteAlphabet.EncodeUtf8(piece, mapped)]);
    }

    private int ReadBytes(ReadOnlySpan<char> piece, Span<Symbol> symbols)
    {
        Span<byte> utf8 = stackalloc byte[4];
        int count = 0;
        foreach (Rune rune in piece.EnumerateRunes())
        {
            int length = rune.EncodeToUtf8(utf8);
            for (int i = 0; i < length; i++) symbols[count++] = new Symbol(_alphabetIds[utf8[i]], 1);
        }
        return count;
    }

    private int ReadCharacters(ReadOnlySpan<char> piece, Span<Symbol> symbols)
    {
        Span<byte> utf8 = stackalloc byte[4];
        int count = 0;
        // An unknown token waits for the next token of the vocabulary; bytes go in front of it.
        Symbol? unknown = null;
        for (int index = 0; index < piece.Length;)
        {
            Rune.DecodeFromUtf16(piece[index..], out Rune rune, out int consumed);
            int length = rune.EncodeToUtf8(utf8);
            ReadOnlySpan<byte> token = IsDecorated ? Decorated(rune, index == 0, index + consumed == piece.Length) : utf8[..length];
            int id = Vocabulary.IdOf(token);
            index += consumed;
            if (id != NoId)
            {
                if (unknown is { } waiting) symbols[count++] = waiting;
                unknown = null;
                symbols[count++] = new Symbol(id, length);
            }
            else if (CanFallBackToBytes(token))
            {
                for (int i = 0; i < token.Length; i++) symbols[count++] = new Symbol(_byteFallbackIds[token[i]], 1);
            }
            else if (_options.UnknownToken is { } unknownToken)
            {
                if (unknown is { } waiting && !_options.FuseUnknown) symbols[count++] = waiting;
                unknown = new Symbol(UnknownId(unknownToken), _options.FuseUnknown && unknown is { } fused ? fused.ByteLength + length : length);
            }
        }
        if (unknown is { } last) symbols[count++] = last;
        return count;
    }

    private byte[] Decorated(Rune rune, bool isFirst, bool isLast) =>
        Encoding.UTF8.GetBytes($"{(isFirst ? "" : _options.ContinuingSubwordPrefix)}{rune}{(isLast ? _options.EndOfWordSuffix : "")}");

    private bool CanFallBackToBytes(ReadOnlySpan<byte> utf8)
    {
        if (!_options.ByteFallback) return false;
        foreach (byte value in utf8)
        {
            if (_byteFallbackIds[value] == NoId) return false;
        }
        return true;
    }
}
