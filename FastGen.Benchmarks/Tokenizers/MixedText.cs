using System.Text;

namespace FastGen.Benchmarks;

/// <summary>
/// Text to tokenize that every run makes alike: English-like prose, code and Chinese, a third of the bytes each. Words are made of syllables
/// and follow Zipf's law, so that common ones come again and again and rare ones once, as in real text.
/// </summary>
internal static class MixedText
{
    private static readonly string[] Syllables =
    [
        "the", "and", "in", "ing", "er", "tion", "al", "re", "con", "de", "ment", "pro", "ly", "com", "per", "ta", "li", "ne", "ro", "sa", "mi", "ve",
        "st", "or", "an", "ex", "ac", "un", "dis", "able", "ous", "ter", "ma", "po", "lo", "ca", "di", "se", "qu", "est", "land", "work", "light", "wood",
    ];

    private static readonly string[] Statements =
    [
        "    if ({0} > {1})\n    {{\n        return {2}({0}, {1});\n    }}\n", "    for (int i = 0; i < {0}.Length; i++) {1} += {0}[i] * 0.5f;\n",
        "def {0}({1}, {2}=None):\n\tself.{1} = {1}\n\treturn {2} or \"{0}\"\n\n", "    {0}.{1}(x => x.{2} != null && x.Count >= 1024);\n",
        "    // {0} {1} the {2}, see RFC 2119.\n", "    const {0} = await {1}(`/api/v2/{2}?id=${{{0}.id}}`);\n",
    ];

    /// <summary>A text of about so many bytes of UTF-8.</summary>
    public static string Create(int byteCount)
    {
        Random random = new(42);
        string[] words = [.. Enumerable.Range(0, 60_000).Select(_ => string.Concat(Enumerable.Range(0, random.Next(1, 5)).Select(_ => Syllables[random.Next(Syllables.Length)])))];
        StringBuilder text = new(byteCount);
        for (int bytes = 0; bytes < byteCount;)
        {
            int start = text.Length;
            WriteProse(text, words, random);
            WriteCode(text, words, random);
            int chinese = text.Length;
            WriteChinese(text, random);
            bytes += chinese - start + (3 * (text.Length - chinese));
        }
        return text.ToString();
    }

    private static void WriteProse(StringBuilder text, string[] words, Random random)
    {
        for (int count = 300; count > 0; count--)
        {
            string word = Pick(words, random);
            if (random.Next(12) == 0) word = char.ToUpperInvariant(word[0]) + word[1..];
            text.Append(word).Append(random.Next(14) switch { 0 => ", ", 1 => ". ", 2 when random.Next(4) == 0 => ".\n\n", 3 when random.Next(6) == 0 => "'s ", _ => " " });
            if (random.Next(60) == 0) text.Append(random.Next(3000)).Append(' ');
        }
        text.Append('\n');
    }

    private static void WriteCode(StringBuilder text, string[] words, Random random)
    {
        for (int count = 30; count > 0; count--)
        {
            text.AppendFormat(null, Statements[random.Next(Statements.Length)], Pick(words, random), Pick(words, random), Pick(words, random) + char.ToUpperInvariant(Pick(words, random)[0]));
        }
    }

    private static void WriteChinese(StringBuilder text, Random random)
    {
        for (int count = 500; count > 0; count--)
        {
            int rank = (int)(3000 * Math.Pow(random.NextDouble(), 3));
            text.Append((char)(0x4E00 + (rank * 7 % 20_000)));
            if (random.Next(12) == 0) text.Append(random.Next(3) == 0 ? '\u3002' : '\uFF0C');
        }
        text.Append('\n');
    }

    // Frequency falls about as one over the rank.
    private static string Pick(string[] words, Random random) => words[(int)Math.Pow(words.Length, random.NextDouble()) - 1];
}
