using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>The decoder of one sequence: looks up each id's token and sends it through the decoding stages.</summary>
internal sealed class TokenTextDecoder : IncrementalDecoder
{
    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly bool _skipSpecialTokens;
    private readonly CharacterBuffer _text = new();
    private readonly DecodingStage _stages;
    private char[] _token = new char[64];

    /// <summary>A decoder that has seen nothing.</summary>
    public TokenTextDecoder(HuggingFaceTokenizer tokenizer, bool skipSpecialTokens)
    {
        _tokenizer = tokenizer;
        _skipSpecialTokens = skipSpecialTokens;
        TextStage end = new(_text);
        _stages = tokenizer.TokenDecoder is { } decoder ? decoder.CreateStage(end) : new JoinWithSpacesStage(end);
    }

    /// <inheritdoc/>
    public override ReadOnlySpan<char> Append(int id)
    {
        _text.Clear();
        Write(id);
        return _text.Written;
    }

    /// <inheritdoc/>
    public override ReadOnlySpan<char> Complete()
    {
        _text.Clear();
        return CompleteText();
    }

    /// <summary>Takes an id and keeps the text that is there already.</summary>
    public void Write(int id)
    {
        if (_tokenizer.AddedTokenOf(id) is { } added)
        {
            if (!_skipSpecialTokens || !added.IsSkipped) _stages.Write(added.Text, endOfToken: true);
            return;
        }
        if (!_tokenizer.Vocabulary.Contains(id)) return;
        ReadOnlySpan<byte> utf8 = _tokenizer.Vocabulary.Utf8Of(id);
        if (_token.Length < utf8.Length) _token = new char[utf8.Length * 2];
        _stages.Write(_token.AsSpan(0, Encoding.UTF8.GetChars(utf8, _token)), endOfToken: true);
    }

    /// <summary>Ends the sequence and returns all text since the last <see cref="Append"/>.</summary>
    public ReadOnlySpan<char> CompleteText()
    {
        _stages.Complete();
        return _text.Written;
    }
}
