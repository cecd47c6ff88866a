using System.Globalization;

namespace FastGen.Kernels;

/// <summary>How many threads can compute without sharing a core.</summary>
internal static class ProcessorTopology
{
    /// <summary>Physical cores that this process may use; logical processors where the system does not tell.</summary>
    public static int PhysicalCores()
    {
        int processors = Environment.ProcessorCount;
        return Math.Max(1, processors / ThreadsPerCore());
    }

    private static int ThreadsPerCore()
    {
        const string Siblings = "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list";
        if (!OperatingSystem.IsLinux() || !File.Exists(Siblings)) return 1;
        try
        {
            return Count(File.ReadAllText(Siblings));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or FormatException)
        {
            return 1;
        }
    }

    // A list such as "0,64" or "0-1".
    private static int Count(string list)
    {
        int count = 0;
        foreach (string range in list.Trim().Split(','))
        {
            int[] ends = [.. range.Split('-').Select(end => int.Parse(end, CultureInfo.InvariantCulture))];
            count += ends[^1] - ends[0] + 1;
        }
        return Math.Max(1, count);
    }
}
