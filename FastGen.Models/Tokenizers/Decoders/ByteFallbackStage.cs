using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// Joins runs of <c>&lt;0xNN&gt;</c> tokens: valid UTF-8 becomes its text, anything else one U+FFFD for each byte of the whole run.
/// A run is therefore held until another token ends it.
/// </summary>
internal sealed class ByteFallbackStage(DecodingStage next) : WholeTokenStage(next)
{
    private byte[] _run = new byte[64];
    private char[] _characters = new char[64];
    private int _count;

    /// <inheritdoc/>
    public override void Complete()
    {
        EndRun();
        Next.Complete();
    }

    /// <inheritdoc/>
    protected override void WriteToken(ReadOnlySpan<char> token)
    {
        if (token is ['<', '0', 'x', _, _, '>'] && byte.TryParse(token[3..5], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
        {
            if (_count == _run.Length) Array.Resize(ref _run, _count * 2);
            _run[_count++] = value;
            return;
        }
        EndRun();
        Next.Write(token, endOfToken: true);
    }

    private void EndRun()
    {
        if (_count == 0) return;
        ReadOnlySpan<byte> run = _run.AsSpan(0, _count);
        if (Utf8.IsValid(run))
        {
            if (_characters.Length < _count) _characters = new char[_run.Length];
            int written = Encoding.UTF8.GetChars(run, _characters);
            Next.Write(_characters.AsSpan(0, written), endOfToken: true);
        }
        else
        {
            for (int i = 0; i < _count; i++) Next.Write("\uFFFD", endOfToken: true);
        }
        _count = 0;
    }
}
