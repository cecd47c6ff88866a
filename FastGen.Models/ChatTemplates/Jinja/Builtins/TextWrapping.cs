using System.Text;

namespace FastGen.Models.Jinja;

/// <summary>Greedy wrapping of one line, as Python's <c>textwrap</c> does it: words stay whole where they fit, and end at hyphens if allowed.</summary>
internal sealed class TextWrapping(long width, bool breakLongWords, bool breakOnHyphens)
{
    public List<string> Wrap(string line)
    {
        if (width <= 0) throw TemplateError.Value($"invalid width {width} (must be > 0)");
        Queue<string> chunks = new(Chunks(line));
        List<string> lines = [];
        while (chunks.Count > 0)
        {
            if (lines.Count > 0 && PythonChar.IsSpace(chunks.Peek())) chunks.Dequeue();
            string next = TakeLine(ref chunks);
            string text = PythonChar.TrimEnd(next);
            if (text.Length > 0) lines.Add(text);
        }
        return lines;
    }

    private string TakeLine(ref Queue<string> chunks)
    {
        StringBuilder text = new();
        while (chunks.TryPeek(out string? chunk) && text.Length + chunk.Length <= width) text.Append(chunks.Dequeue());
        if (chunks.TryPeek(out string? tooLong) && tooLong.Length > width)
        {
            int room = (int)Math.Max(1, width - text.Length);
            if (breakLongWords)
            {
                text.Append(tooLong, 0, room);
                chunks = new Queue<string>(chunks.Skip(1).Prepend(tooLong[room..]));
            }
            else if (text.Length == 0)
            {
                text.Append(chunks.Dequeue());
            }
        }
        return text.ToString();
    }

    /// <summary>Runs of white space, and words, cut behind hyphens that have letters on both sides.</summary>
    private IEnumerable<string> Chunks(string line)
    {
        int start = 0;
        for (int i = 1; i <= line.Length; i++)
        {
            bool boundary = i == line.Length || PythonChar.IsSpace(line[i]) != PythonChar.IsSpace(line[i - 1]);
            bool hyphen = breakOnHyphens && i < line.Length && line[i - 1] == '-' && i >= start + 2 && char.IsLetter(line[i - 2]) && char.IsLetter(line[i]);
            if (!boundary && !hyphen) continue;
            yield return line[start..i];
            start = i;
        }
    }
}
