using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>From <see cref="ByteAlphabet"/> back to text. All tokens together are one; a token outside the alphabet stands for itself.</summary>
internal sealed class ByteLevelStage(DecodingStage next) : WholeTokenStage(next)
{
    private readonly Decoder _utf8 = Encoding.UTF8.GetDecoder();
    private byte[] _bytes = new byte[64];
    private char[] _characters = new char[64];

    /// <inheritdoc/>
    public override void Complete()
    {
        Decode(0, flush: true);
        Next.Write([], endOfToken: true);
        Next.Complete();
    }

    /// <inheritdoc/>
    protected override void WriteToken(ReadOnlySpan<char> token)
    {
        int limit = Encoding.UTF8.GetMaxByteCount(token.Length);
        if (_bytes.Length < limit) _bytes = new byte[limit * 2];
        int count = 0;
        foreach (char character in token)
        {
            int value = ByteAlphabet.ToByte(character);
            if (value < 0)
            {
                count = Encoding.UTF8.GetBytes(token, _bytes);
                break;
            }
            _bytes[count++] = (byte)value;
        }
        Decode(count, flush: false);
    }

    private void Decode(int count, bool flush)
    {
        int limit = Encoding.UTF8.GetMaxCharCount(count);
        if (_characters.Length < limit) _characters = new char[limit * 2];
        int written = _utf8.GetChars(_bytes.AsSpan(0, count), _characters, flush);
        if (written > 0) Next.Write(_characters.AsSpan(0, written), endOfToken: false);
    }
}
