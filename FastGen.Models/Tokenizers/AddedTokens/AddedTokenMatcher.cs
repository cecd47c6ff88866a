using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>Finds added tokens in a text: the leftmost first, of several the longest.</summary>
internal sealed class AddedTokenMatcher
{
    private readonly Dictionary<(int Node, char Label), int> _edges = [];
    private readonly List<AddedToken?> _tokens = [null];
    private readonly SearchValues<char> _firstCharacters;

    /// <summary>A matcher for tokens by the text they are looked for as; of equal texts the first token wins.</summary>
    public AddedTokenMatcher(IEnumerable<(string Text, AddedToken Token)> tokens)
    {
        HashSet<char> firstCharacters = [];
        foreach ((string text, AddedToken token) in tokens)
        {
            if (text.Length == 0) continue;
            firstCharacters.Add(text[0]);
            int node = 0;
            foreach (char label in text)
            {
                if (!_edges.TryGetValue((node, label), out int next))
                {
                    next = _tokens.Count;
                    _tokens.Add(null);
                    _edges.Add((node, label), next);
                }
                node = next;
            }
            _tokens[node] ??= token;
        }
        _firstCharacters = SearchValues.Create([.. firstCharacters]);
    }

    /// <summary>Cuts <paramref name="text"/> into added tokens and what lies between; the sections cover the text and overlap where two tokens take the same white space.</summary>
    public void Cut(ReadOnlySpan<char> text, List<Section> sections)
    {
        int done = 0;
        int endOfSpace = 0;
        for (int from = 0; TryFind(text, from, out int start, out int end, out AddedToken? token);)
        {
            // White space that a token takes may still hold the next token.
            from = end;
            if (token.IsSingleWord && IsInsideWord(text, start, end)) continue;
            if (token.StripsLeft) start = start <= done ? done : done + text[done..start].TrimEnd().Length;
            if (token.StripsRight)
            {
                // A run of white space is looked through once, however many tokens are in it.
                if (end >= endOfSpace) endOfSpace = text.Length - text[end..].TrimStart().Length;
                end = endOfSpace;
            }
            // Nothing is left of a token whose characters and white space the one before took.
            if (end <= start) continue;
            if (done < start) sections.Add(new Section(done, start, null));
            sections.Add(new Section(start, end, token));
            done = end;
        }
        if (done < text.Length) sections.Add(new Section(done, text.Length, null));
    }

    private bool TryFind(ReadOnlySpan<char> text, int from, out int start, out int end, out AddedToken token)
    {
        for (start = from; start < text.Length; start++)
        {
            int skipped = text[start..].IndexOfAny(_firstCharacters);
            if (skipped < 0) break;
            start += skipped;
            if (LongestAt(text, start, out end) is { } found)
            {
                token = found;
                return true;
            }
        }
        end = 0;
        token = null!;
        return false;
    }

    private AddedToken? LongestAt(ReadOnlySpan<char> text, int start, out int end)
    {
        AddedToken? longest = null;
        end = start;
        int node = 0;
        for (int index = start; index < text.Length && _edges.TryGetValue((node, text[index]), out node); index++)
        {
            if (_tokens[node] is not { } token) continue;
            longest = token;
            end = index + 1;
        }
        return longest;
    }

    private static bool IsInsideWord(ReadOnlySpan<char> text, int start, int end)
    {
        bool wordBefore = start > 0 && Rune.DecodeLastFromUtf16(text[..start], out Rune before, out _) == OperationStatus.Done && IsWord(before);
        return wordBefore || (end < text.Length && Rune.DecodeFromUtf16(text[end..], out Rune after, out _) == OperationStatus.Done && IsWord(after));
    }

    private static bool IsWord(Rune rune) => (CharacterClasses.Of(rune) & CharacterClass.Word) != 0;

    /// <summary>A part of the text, and the added token that it is.</summary>
    [StructLayout(LayoutKind.Auto)]
    internal readonly record struct Section(int Start, int End, AddedToken? Token);
}
