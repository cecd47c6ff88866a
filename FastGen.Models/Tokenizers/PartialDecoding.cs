using System.Buffers;

namespace FastGen.Models.Tokenizers;

/// <summary>Decoding into a buffer of fixed size, as the base class of tokenizers offers it.</summary>
internal static class PartialDecoding
{
    /// <summary>Writes the text of as many ids as give whole characters and fit.</summary>
    public static OperationStatus Decode(HuggingFaceTokenizer tokenizer, IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
    {
        TokenTextDecoder decoder = new(tokenizer, skipSpecialTokens: true);
        idsConsumed = charsWritten = 0;
        int idsRead = 0;
        foreach (int id in ids)
        {
            idsRead++;
            ReadOnlySpan<char> text = decoder.Append(id);
            if (text.IsEmpty) continue;
            if (!text.TryCopyTo(destination[charsWritten..])) return OperationStatus.DestinationTooSmall;
            charsWritten += text.Length;
            idsConsumed = idsRead;
        }
        ReadOnlySpan<char> rest = decoder.Complete();
        if (rest.Contains('\uFFFD')) return OperationStatus.NeedMoreData;
        if (!rest.TryCopyTo(destination[charsWritten..])) return OperationStatus.DestinationTooSmall;
        charsWritten += rest.Length;
        idsConsumed = idsRead;
        return OperationStatus.Done;
    }
}
