using System.Buffers;
using FastGen.Models.Tokenizers;
using Microsoft.ML.Tokenizers;

namespace FastGen.Models;

/// <summary>
/// A tokenizer as Hugging Face's <c>tokenizers</c> library describes it in <c>tokenizer.json</c>, with the same ids and texts as that
/// library. <see cref="TokenizerLoader"/> makes one from a model folder. Safe for many threads at once.
/// </summary>
/// <remarks>
/// <para>The members of the base class add no special tokens, as counting and joining texts needs; <see cref="Encode"/> adds them.
/// Special tokens that are written out in the text are recognised by both. Decoding skips special tokens unless told otherwise.</para>
/// <para>Lone surrogates in a text count as U+FFFD.</para>
/// </remarks>
public sealed class HuggingFaceTokenizer : Tokenizer, IIncrementalTokenizer
{
    private readonly TokenizerDefinition _definition;
    private readonly EncodingPipeline _pipeline;
    private readonly Dictionary<int, AddedToken> _addedById = [];
    private readonly Dictionary<string, int> _addedByContent = new(StringComparer.Ordinal);

    internal HuggingFaceTokenizer(TokenizerDefinition definition)
    {
        _definition = definition;
        _pipeline = new EncodingPipeline(definition);
        VocabularySize = definition.Model.Vocabulary.IdLimit;
        HashSet<string> specialContents = [.. definition.AddedTokens.Where(token => token.IsSpecial).Select(token => token.Content)];
        foreach (AddedToken token in definition.AddedTokens)
        {
            string text = token.IsNormalized && definition.Normalizer is { } normalizer ? normalizer.Normalize(token.Content) : token.Content;
            _addedById[token.Id] = token with { Text = text, IsSkipped = specialContents.Contains(text) };
            _addedByContent[token.Content] = token.Id;
            VocabularySize = Math.Max(VocabularySize, token.Id + 1);
        }
        BeginningOfSentenceId = definition.BeginningOfSentence is { } beginning ? TokenToId(beginning) : null;
        EndOfSentenceId = definition.EndOfSentence is { } end ? TokenToId(end) : null;
    }

    /// <summary>One more than the largest id. A model's logits may be wider.</summary>
    public int VocabularySize { get; }

    /// <summary>Id of the token that begins a text, or null where the configuration names none.</summary>
    public int? BeginningOfSentenceId { get; }

    /// <summary>Id of the token that ends a text, or null where the configuration names none.</summary>
    public int? EndOfSentenceId { get; }

    /// <summary>The ids of <paramref name="text"/>, with the special tokens that the model expects around it unless told otherwise.</summary>
    public IReadOnlyList<int> Encode(string text, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        TokenSink sink = new(withOffsets: false);
        _pipeline.Encode(text, sink);
        return addSpecialTokens && _definition.PostProcessor is { } processor ? processor.AddSpecialTokens(sink.Ids) : sink.Ids;
    }

    /// <summary>The text of <paramref name="ids"/>. Ids without a token give nothing; bytes that are not UTF-8 give U+FFFD.</summary>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens = true)
    {
        TokenTextDecoder decoder = new(this, skipSpecialTokens);
        foreach (int id in ids) decoder.Write(id);
        return decoder.CompleteText().ToString();
    }

    /// <inheritdoc cref="Decode(ReadOnlySpan{int}, bool)"/>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(ids);
        TokenTextDecoder decoder = new(this, skipSpecialTokens);
        foreach (int id in ids) decoder.Write(id);
        return decoder.CompleteText().ToString();
    }

    /// <summary>The text of <paramref name="ids"/> without special tokens.</summary>
    public override string Decode(IEnumerable<int> ids) => Decode(ids, skipSpecialTokens: true);

    /// <summary>
    /// The text of as many of <paramref name="ids"/> as give whole characters and fit, without special tokens.
    /// <see cref="OperationStatus.NeedMoreData"/> says that the ids end inside a character.
    /// </summary>
    public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
    {
        ArgumentNullException.ThrowIfNull(ids);
        return PartialDecoding.Decode(this, ids, destination, out idsConsumed, out charsWritten);
    }

    /// <inheritdoc/>
    public IncrementalDecoder CreateIncrementalDecoder(bool skipSpecialTokens) => new TokenTextDecoder(this, skipSpecialTokens);

    /// <summary>True for ids of special tokens, such as the end of a text.</summary>
    public bool IsSpecial(int id) => _addedById.TryGetValue(id, out AddedToken? token) && token.IsSpecial;

    /// <summary>The token with the id as the vocabulary writes it, or null.</summary>
    public string? IdToToken(int id) => _addedById.TryGetValue(id, out AddedToken? token) ? token.Text : _definition.Model.Vocabulary.TokenOf(id);

    /// <summary>The id of a token as the vocabulary writes it, or null.</summary>
    public int? TokenToId(string token)
    {
        ArgumentNullException.ThrowIfNull(token);
        if (_addedByContent.TryGetValue(token, out int added)) return added;
        int id = _definition.Model.Vocabulary.IdOf(token);
        return id >= 0 ? id : null;
    }

    internal TokenDecoder? TokenDecoder => _definition.Decoder;

    internal AddedToken? AddedTokenOf(int id) => _addedById.GetValueOrDefault(id);

    internal Vocabulary Vocabulary => _definition.Model.Vocabulary;

    /// <inheritdoc/>
    protected override EncodeResults<int> EncodeToIds(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        if (settings.MaxTokenCount != int.MaxValue)
        {
            EncodeResults<EncodedToken> tokens = EncodeToTokens(text, textSpan, settings);
            return new EncodeResults<int> { Tokens = [.. tokens.Tokens.Select(token => token.Id)], NormalizedText = tokens.NormalizedText, CharsConsumed = tokens.CharsConsumed };
        }
        string given = text ?? textSpan.ToString();
        TokenSink sink = new(withOffsets: false);
        string normalized = _pipeline.Encode(given, sink, settings.ConsiderNormalization, settings.ConsiderPreTokenization);
        return new EncodeResults<int> { Tokens = sink.Ids, NormalizedText = normalized == given ? null : normalized, CharsConsumed = normalized.Length };
    }

    /// <inheritdoc/>
    protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        string given = text ?? textSpan.ToString();
        TokenSink sink = new(withOffsets: true);
        string normalized = _pipeline.Encode(given, sink, settings.ConsiderNormalization, settings.ConsiderPreTokenization);
        int count = Math.Min(sink.Ids.Count, settings.MaxTokenCount);
        EncodedToken[] tokens = new EncodedToken[count];
        for (int i = 0; i < count; i++) tokens[i] = new EncodedToken(sink.Ids[i], IdToToken(sink.Ids[i])!, sink.Offsets![i]);
        return new EncodeResults<EncodedToken>
        {
            Tokens = tokens,
            NormalizedText = normalized == given ? null : normalized,
            CharsConsumed = count == sink.Ids.Count ? normalized.Length : count == 0 ? 0 : tokens[^1].Offset.End.Value,
        };
    }
}
