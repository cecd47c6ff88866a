using System.Globalization;

namespace FastGen.Benchmarks.Serving;

/// <summary>Mean lengths of prompt and output, and the numbers of clients that send such requests in closed loops, a point each.</summary>
internal sealed record ClosedLoad(int Prompt, int Output, IReadOnlyList<int> Clients)
{
    /// <summary>The points that the peers' scripts measure.</summary>
    public const string Peers = "2600,60@1,8,32,64;2600,128@1,8,32,64;1200,60@1,8,32,64;1200,128@1,8,32,64;500,150@1,8,32,64;500,500@8,64;500,1024@64";

    private const string AllClients = "@1,2,4,8,16,32,64,128,256";

    /// <summary>DeepSpeed-FastGen's lengths and two with long outputs, under all numbers of clients.</summary>
    public const string All = $"2600,60{AllClients};2600,128{AllClients};1200,60{AllClients};1200,128{AllClients};500,150{AllClients};500,500{AllClients};500,1024{AllClients}";

    /// <exception cref="ArgumentException">The list has another form.</exception>
    public static IReadOnlyList<ClosedLoad> Parse(string list) => [.. (list switch { "peers" => Peers, "all" => All, _ => list }).Split(';').Select(ParseOne)];

    private static ClosedLoad ParseOne(string text)
    {
        if (text.Split('@') is [string lengths, string clients] && Numbers(lengths) is [int prompt, int output] && Numbers(clients) is { Length: > 0 } counts && Array.TrueForAll(counts, count => count > 0))
        {
            return new ClosedLoad(prompt, output, counts);
        }
        throw new ArgumentException($"--points has {text}; it must be PROMPT,OUTPUT@CLIENTS,CLIENTS…, peers or all.");
    }

    private static int[] Numbers(string text) => [.. text.Split(',').Select(part => int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : 0)];
}
