namespace FastGen.Models.Tokenizers;

/// <summary>Characters that are collected and cleared again and again without allocating.</summary>
internal sealed class CharacterBuffer
{
    private char[] _characters = new char[64];
    private int _count;

    /// <summary>What was appended since the last <see cref="Clear"/>.</summary>
    public ReadOnlySpan<char> Written => _characters.AsSpan(0, _count);

    /// <summary>Appends.</summary>
    public void Append(ReadOnlySpan<char> text)
    {
        if (_count + text.Length > _characters.Length) Array.Resize(ref _characters, Math.Max(_count + text.Length, _characters.Length * 2));
        text.CopyTo(_characters.AsSpan(_count));
        _count += text.Length;
    }

    /// <summary>Forgets everything.</summary>
    public void Clear() => _count = 0;
}
