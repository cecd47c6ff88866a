using System.Diagnostics;
using System.Globalization;
using System.Text;
using FastGen.Models;
using Microsoft.ML.Tokenizers;

namespace FastGen.Benchmarks;

/// <summary>
/// Times loading, encoding (by processor time) and streaming decoding. Arguments: tokenizers, each a model folder or a <c>tokenizer.json</c>, and with
/// <c>=FILE</c> behind it the same vocabulary as a tiktoken file, which Microsoft.ML.Tokenizers then encodes beside it, in turns.
/// </summary>
public static class TokenizerBenchmark
{
    private const int Rounds = 5;
    private const int Megabytes = 10;

    /// <summary>Runs the benchmark and prints a table for each tokenizer.</summary>
    public static void Run(string[] args)
    {
        ArgumentNullException.ThrowIfNull(args);
        string text = MixedText.Create(Megabytes << 20);
        double megabytes = Encoding.UTF8.GetByteCount(text) / (double)(1 << 20);
        foreach (string argument in args)
        {
            string[] parts = argument.Split('=', 2);
            Console.WriteLine(parts[0]);
            HuggingFaceTokenizer tokenizer = Load(parts[0]);
            IReadOnlyList<int> ids = tokenizer.Encode(text, addSpecialTokens: false);
            TiktokenTokenizer? peer = parts.Length > 1 ? LoadPeer(parts[1], tokenizer) : null;
            TimeEncoding(tokenizer, peer, text, megabytes);
            TimeDecoding(tokenizer, ids);
            Print("decoded text is the text", tokenizer.Decode([.. ids], skipSpecialTokens: false) == text ? "yes" : "NO");
        }
    }

    private static HuggingFaceTokenizer Load(string path)
    {
        HuggingFaceTokenizer? tokenizer = null;
        for (int round = 0; round < 3; round++)
        {
            Stopwatch watch = Stopwatch.StartNew();
            tokenizer = File.Exists(path) ? TokenizerLoader.LoadFile(path) : TokenizerLoader.Load(path);
            Print(round == 0 ? "load, first" : "load, again", $"{watch.ElapsedMilliseconds} ms");
        }
        return tokenizer!;
    }

    private static TiktokenTokenizer LoadPeer(string tiktokenFile, HuggingFaceTokenizer tokenizer)
    {
        string expression = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + (tokenizer.Encode("1234", false).Count == 4 ? "" : "{1,3}")
            + @"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        RegexPreTokenizer words = new(new System.Text.RegularExpressions.Regex(expression, System.Text.RegularExpressions.RegexOptions.Compiled), null);
        return TiktokenTokenizer.Create(tiktokenFile, words, normalizer: null);
    }

    private static void TimeEncoding(HuggingFaceTokenizer tokenizer, TiktokenTokenizer? peer, string text, double megabytes)
    {
        List<double> ours = [];
        List<double> theirs = [];
        bool equal = true;
        for (int round = 0; round < Rounds; round++)
        {
            ours.Add(Time(() => tokenizer.Encode(text, addSpecialTokens: false), out IReadOnlyList<int> ids));
            if (peer is null) continue;
            theirs.Add(Time(() => peer.EncodeToIds(text), out IReadOnlyList<int> peerIds));
            equal &= ids.SequenceEqual(peerIds);
        }
        Print("encode", Rate(megabytes / Median(ours)));
        if (peer is null) return;
        Print("encode, Microsoft's TiktokenTokenizer", Rate(megabytes / Median(theirs)));
        Print("ratio, ids equal", string.Create(CultureInfo.InvariantCulture, $"{Median(theirs) / Median(ours):F1}, {equal}"));
    }

    private static void TimeDecoding(HuggingFaceTokenizer tokenizer, IReadOnlyList<int> ids)
    {
        StreamingDecoder decoder = new(tokenizer, ["<never/>"]);
        for (int i = 0; i < 1000; i++) decoder.Append(ids[i], out _);
        long before = GC.GetAllocatedBytesForCurrentThread();
        long pieces = 0;
        Stopwatch watch = Stopwatch.StartNew();
        foreach (int id in ids)
        {
            string piece = decoder.Append(id, out _);
            if (piece.Length > 0) pieces += (22 + (2L * piece.Length) + 7) / 8 * 8;
        }
        double nanoseconds = watch.Elapsed.TotalNanoseconds / ids.Count;
        long beyond = GC.GetAllocatedBytesForCurrentThread() - before - pieces;
        Print("streaming decode", string.Create(CultureInfo.InvariantCulture, $"{nanoseconds:F0} ns a token, {beyond} bytes beyond the pieces of {ids.Count} tokens"));
    }

    // Processor time, collections included: what else the machine does must not count.
    private static double Time<T>(Func<T> action, out T result)
    {
        TimeSpan before = Environment.CpuUsage.TotalTime;
        result = action();
        return (Environment.CpuUsage.TotalTime - before).TotalSeconds;
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

    private static string Rate(double megabytesPerSecond) => string.Create(CultureInfo.InvariantCulture, $"{megabytesPerSecond:F1} MB/s");

    private static void Print(string what, string value) => Console.WriteLine($"  {what,-40} {value}");
}
