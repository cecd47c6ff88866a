using System.Globalization;

namespace FastGen.Kernels;

/// <summary>How many threads can compute without sharing a core.</summary>
internal static class ProcessorTopology
{
    /// <summary>
    /// Physical cores among the processors that this process may run on, but no more than the share of them that its container may use
    /// (<see cref="Environment.ProcessorCount"/>); logical processors where the system does not tell cores apart.
    /// </summary>
    public static int PhysicalCores() => Math.Clamp(OperatingSystem.IsLinux() ? AllowedCores() : int.MaxValue, 1, Environment.ProcessorCount);

    /// <summary>Counts the cores of some processors, each of which has a list of those that share its core.</summary>
    /// <param name="processors">A list such as "0,64" or "0-1,4".</param>
    /// <param name="siblingsOf">The list of a processor's core, itself included.</param>
    public static int CountCores(string processors, Func<int, string> siblingsOf)
    {
        HashSet<int> seen = [];
        int cores = 0;
        foreach (int processor in Numbers(processors))
        {
            if (!seen.Add(processor)) continue;
            cores++;
            seen.UnionWith(Numbers(siblingsOf(processor)));
        }
        return cores;
    }

    private static int AllowedCores()
    {
        const string Allowed = "Cpus_allowed_list:";
        try
        {
            string processors = File.ReadLines("/proc/self/status").First(line => line.StartsWith(Allowed, StringComparison.Ordinal))[Allowed.Length..];
            return CountCores(processors, processor => File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or FormatException or InvalidOperationException)
        {
            return int.MaxValue;
        }
    }

    private static IEnumerable<int> Numbers(string list)
    {
        foreach (string range in list.Trim().Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            int[] ends = [.. range.Split('-').Select(end => int.Parse(end, CultureInfo.InvariantCulture))];
            for (int number = ends[0]; number <= ends[^1]; number++) yield return number;
        }
    }
}
