using System.Collections.Frozen;
using System.Text;

namespace FastGen.Models.Tokenizers;

/// <summary>
/// The four Unicode normalization forms (UAX #15) by the tables of Unicode 9.0, the version Hugging Face's tokenizers use.
/// <see cref="string.Normalize()"/> cannot serve: it returns its argument in globalization-invariant applications.
/// </summary>
internal static class UnicodeNormalizer
{
    private static readonly NormalizationTables Tables = NormalizationTables.Read();

    /// <summary>True when normalizing <paramref name="text"/> to the form cannot change it.</summary>
    private static bool IsInert(ReadOnlySpan<char> text, bool composed, bool compatible)
    {
        // Below U+0300 nothing combines, and NFC leaves all of it alone; below U+00A0 every form does.
        char firstAffected = composed && !compatible ? '\u0300' : '\u00A0';
        int index = text.IndexOfAnyExceptInRange('\0', (char)(firstAffected - 1));
        if (index < 0) return true;
        foreach (Rune rune in text[index..].EnumerateRunes())
        {
            if (rune.Value >= firstAffected && Tables.MayChange(rune.Value, composed, compatible)) return false;
        }
        return true;
    }

    /// <summary><paramref name="text"/> in NFC or NFKC (<paramref name="composed"/>), else NFD or NFKD.</summary>
    public static string Normalize(string text, bool composed, bool compatible)
    {
        if (IsInert(text, composed, compatible)) return text;
        List<int> codePoints = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes()) Decompose(rune.Value, compatible, codePoints);
        Reorder(codePoints);
        if (composed) Compose(codePoints);
        StringBuilder result = new(codePoints.Count);
        Span<char> utf16 = stackalloc char[2];
        foreach (int codePoint in codePoints) result.Append(utf16[..new Rune(codePoint).EncodeToUtf16(utf16)]);
        return result.ToString();
    }

    /// <summary>True for characters of the general category M (marks) in Unicode 9.0.</summary>
    public static bool IsMark(Rune rune) => Tables.IsMark(rune.Value);

    private static void Decompose(int codePoint, bool compatible, List<int> output)
    {
        int syllable = codePoint - Hangul.SyllableBase;
        if ((uint)syllable < Hangul.SyllableCount)
        {
            output.Add(Hangul.LeadBase + (syllable / (Hangul.VowelCount * Hangul.TrailCount)));
            output.Add(Hangul.VowelBase + (syllable / Hangul.TrailCount % Hangul.VowelCount));
            if (syllable % Hangul.TrailCount != 0) output.Add(Hangul.TrailBase + (syllable % Hangul.TrailCount));
        }
        else if (Tables.Decomposition(codePoint, compatible) is { } parts)
        {
            output.AddRange(parts);
        }
        else
        {
            output.Add(codePoint);
        }
    }

    /// <summary>The canonical ordering: runs of characters with a combining class are sorted by it, stably.</summary>
    private static void Reorder(List<int> codePoints)
    {
        for (int start = 0; start < codePoints.Count; start++)
        {
            if (Tables.CombiningClass(codePoints[start]) == 0) continue;
            int end = start + 1;
            while (end < codePoints.Count && Tables.CombiningClass(codePoints[end]) != 0) end++;
            if (end - start > 1)
            {
                int[] ordered = [.. codePoints.GetRange(start, end - start).OrderBy(Tables.CombiningClass)];
                for (int i = 0; i < ordered.Length; i++) codePoints[start + i] = ordered[i];
            }
            start = end;
        }
    }

    private static void Compose(List<int> codePoints)
    {
        int starter = -1;
        int lastClass = -1;
        int kept = 0;
        for (int read = 0; read < codePoints.Count; read++)
        {
            int codePoint = codePoints[read];
            int combiningClass = Tables.CombiningClass(codePoint);
            bool blocked = lastClass >= combiningClass && lastClass != -1;
            if (starter >= 0 && !blocked && Tables.Composite(codePoints[starter], codePoint) is int composite and not 0)
            {
                codePoints[starter] = composite;
                continue;
            }
            if (combiningClass == 0)
            {
                starter = kept;
                lastClass = -1;
            }
            else
            {
                lastClass = combiningClass;
            }

            codePoints[kept++] = codePoint;
        }
        codePoints.RemoveRange(kept, codePoints.Count - kept);
    }

    /// <summary>The arithmetic of Hangul syllables (The Unicode Standard, section 3.12).</summary>
    private static class Hangul
    {
        public const int SyllableBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TrailBase = 0x11A7;
        public const int LeadCount = 19, VowelCount = 21, TrailCount = 28, SyllableCount = LeadCount * VowelCount * TrailCount;

        public static int Compose(int first, int second)
        {
            if ((uint)(first - LeadBase) < LeadCount && (uint)(second - VowelBase) < VowelCount)
            {
                return SyllableBase + ((((first - LeadBase) * VowelCount) + second - VowelBase) * TrailCount);
            }
            bool openSyllable = (uint)(first - SyllableBase) < SyllableCount && (first - SyllableBase) % TrailCount == 0;
            bool trail = second > TrailBase && second < TrailBase + TrailCount;
            return openSyllable && trail ? first + second - TrailBase : 0;
        }

        public static bool IsConjoining(int codePoint) =>
            codePoint is >= VowelBase and < VowelBase + VowelCount or > TrailBase and < TrailBase + TrailCount;
    }

    /// <summary>What <c>normalization.bin</c> holds; <c>generate_normalization_data.py</c> beside it describes the layout.</summary>
    private sealed class NormalizationTables
    {
        private readonly FrozenDictionary<int, byte> _combiningClasses;
        private readonly FrozenDictionary<int, int[]> _canonical;
        private readonly FrozenDictionary<int, int[]> _compatible;
        private readonly FrozenDictionary<long, int> _compositions;
        private readonly FrozenSet<int> _changedByComposing;
        private readonly (int First, int Last)[] _marks;

        private NormalizationTables(Stream data)
        {
            _combiningClasses = ReadRows(data, static d => (byte)ReadNumber(d)).ToFrozenDictionary();
            _canonical = ReadRows(data, ReadCodePoints).ToFrozenDictionary();
            _compatible = ReadRows(data, ReadCodePoints).ToFrozenDictionary();

            Dictionary<long, int> compositions = [];
            for (int count = ReadNumber(data); count > 0; count--) compositions.Add(Pair(ReadNumber(data), ReadNumber(data)), ReadNumber(data));
            _compositions = compositions.ToFrozenDictionary();
            _marks = [.. ReadRows(data, ReadNumber).Select(row => (row.Key, row.Key + row.Value - 1))];

            HashSet<int> composites = [.. compositions.Values];
            HashSet<int> changed = [.. compositions.Keys.Select(pair => (int)pair), .. _combiningClasses.Keys];
            changed.UnionWith(_canonical.Keys.Where(codePoint => !composites.Contains(codePoint)));
            _changedByComposing = changed.ToFrozenSet();
        }

        public static NormalizationTables Read()
        {
            using Stream data = typeof(UnicodeNormalizer).Assembly.GetManifestResourceStream("FastGen.Models.normalization.bin")!;
            using MemoryStream copy = new();
            data.CopyTo(copy);
            copy.Position = 0;
            return new NormalizationTables(copy);
        }

        public int CombiningClass(int codePoint) => codePoint < 0x300 ? 0 : _combiningClasses.GetValueOrDefault(codePoint);

        public int[]? Decomposition(int codePoint, bool compatible) =>
            codePoint < 0xA0 ? null
            : compatible && _compatible.TryGetValue(codePoint, out int[]? parts) ? parts
            : _canonical.GetValueOrDefault(codePoint);

        public int Composite(int first, int second) =>
            Hangul.Compose(first, second) is int syllable and not 0 ? syllable : _compositions.GetValueOrDefault(Pair(first, second));

        public bool MayChange(int codePoint, bool composed, bool compatible)
        {
            if (compatible && _compatible.ContainsKey(codePoint)) return true;
            if (composed) return _changedByComposing.Contains(codePoint) || Hangul.IsConjoining(codePoint);
            return _combiningClasses.ContainsKey(codePoint) || _canonical.ContainsKey(codePoint)
                || (uint)(codePoint - Hangul.SyllableBase) < Hangul.SyllableCount;
        }

        public bool IsMark(int codePoint)
        {
            if (codePoint < 0x300) return false;
            int low = 0;
            int high = _marks.Length - 1;
            while (low <= high)
            {
                int middle = (low + high) / 2;
                if (codePoint < _marks[middle].First) high = middle - 1;
                else if (codePoint > _marks[middle].Last) low = middle + 1;
                else return true;
            }
            return false;
        }

        private static long Pair(int first, int second) => ((long)first << 32) | (uint)second;

        private static Dictionary<int, T> ReadRows<T>(Stream data, Func<Stream, T> readValue)
        {
            int count = ReadNumber(data);
            Dictionary<int, T> rows = new(count);
            for (int codePoint = 0; count > 0; count--)
            {
                codePoint += ReadNumber(data);
                rows.Add(codePoint, readValue(data));
            }
            return rows;
        }

        private static int[] ReadCodePoints(Stream data)
        {
            int[] codePoints = new int[ReadNumber(data)];
            for (int i = 0; i < codePoints.Length; i++) codePoints[i] = ReadNumber(data);
            return codePoints;
        }

        private static int ReadNumber(Stream data)
        {
            int value = 0;
            for (int shift = 0; ; shift += 7)
            {
                int next = data.ReadByte();
                value |= (next & 0x7F) << shift;
                if (next < 0x80) return value;
            }
        }
    }
}
