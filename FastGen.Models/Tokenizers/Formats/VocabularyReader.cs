using System.Text;
using System.Text.Json;

namespace FastGen.Models.Tokenizers;

/// <summary>Reads a vocabulary from JSON straight into its tables. <paramref name="field"/>: its path in the file.</summary>
internal sealed class VocabularyReader(string file, string field, int jsonLength)
{
    private readonly Vocabulary _vocabulary = new(Math.Max(256, jsonLength / 48));
    private byte[] _unescaped = new byte[256];

    /// <summary>Reads an object of tokens and ids; the reader stands at its opening brace.</summary>
    public Vocabulary ReadIds(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject) throw new TokenizerFileException(file, field, "must be an object of tokens and ids");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            ReadOnlySpan<byte> token = Utf8(ref reader, ref _unescaped);
            reader.Read();
            int id = -1;
            bool isNumber = reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out id);
            if (!isNumber || !_vocabulary.Add(token, id))
            {
                throw new TokenizerFileException(file, $"{field}[\"{Encoding.UTF8.GetString(token)}\"]", "must be a token id, a whole number from 0 on");
            }
        }
        return _vocabulary;
    }

    /// <summary>Reads an array of pairs of a token and its score; the reader stands at its opening bracket.</summary>
    public Vocabulary ReadScores(ref Utf8JsonReader reader, List<double> scores)
    {
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.StartArray || !reader.Read() || reader.TokenType != JsonTokenType.String) throw NotAPair(scores.Count);
            _vocabulary.Add(Utf8(ref reader, ref _unescaped), scores.Count);
            if (!reader.Read() || reader.TokenType != JsonTokenType.Number) throw NotAPair(scores.Count);
            scores.Add(reader.GetDouble());
            if (!reader.Read() || reader.TokenType != JsonTokenType.EndArray) throw NotAPair(scores.Count - 1);
        }
        return _vocabulary;
    }

    /// <summary>The UTF-8 of the string that the reader stands at; <paramref name="unescaped"/> is where escapes are resolved.</summary>
    public static ReadOnlySpan<byte> Utf8(ref Utf8JsonReader reader, ref byte[] unescaped)
    {
        if (!reader.ValueIsEscaped) return reader.ValueSpan;
        if (reader.ValueSpan.Length > unescaped.Length) unescaped = new byte[reader.ValueSpan.Length * 2];
        return unescaped.AsSpan(0, reader.CopyString(unescaped));
    }

    private TokenizerFileException NotAPair(int index) => new(file, $"{field}[{index}]", "must be a pair of a token and its score");
}
