using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// GPT-2's alphabet of bytes: each byte is written as a printable character, so that any text is a string over 256 characters.
/// Printable Latin-1 bytes stand for themselves, the others for the characters from U+0100 on.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] Characters = BuildCharacters();
    private static readonly short[] Bytes = BuildBytes();

    /// <summary>The character that stands for <paramref name="value"/>.</summary>
    public static char ToCharacter(byte value) => Characters[value];

    /// <summary>The byte that <paramref name="character"/> stands for, or -1.</summary>
    public static int ToByte(char character) => character < Bytes.Length ? Bytes[character] : -1;

    /// <summary>Writes <paramref name="text"/> in the alphabet, as UTF-8; <paramref name="destination"/> holds six bytes a code unit.</summary>
    public static int EncodeUtf8(ReadOnlySpan<char> text, Span<byte> destination)
    {
        Span<byte> utf8 = stackalloc byte[4];
        int written = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            int length = rune.EncodeToUtf8(utf8);
            for (int i = 0; i < length; i++) written += new Rune(Characters[utf8[i]]).EncodeToUtf8(destination[written..]);
        }
        return written;
    }

    private static char[] BuildCharacters()
    {
        char[] characters = new char[256];
        char next = '\u0100';
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is >= '!' and <= '~' or >= 0xA1 and <= 0xAC or >= 0xAE and <= 0xFF;
            characters[value] = printable ? (char)value : next++;
        }
        return characters;
    }

    private static short[] BuildBytes()
    {
        short[] bytes = new short[Characters.Max() + 1];
        Array.Fill(bytes, (short)-1);
        for (int value = 0; value < 256; value++) bytes[Characters[value]] = (short)value;
        return bytes;
    }
}
