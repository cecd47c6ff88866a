using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;

namespace FastGen.Kernels;

/// <summary>How many threads can compute without sharing a core.</summary>
internal static unsafe partial class ProcessorTopology
{
    /// <summary>
    /// Physical cores among the processors that this process may run on, but no more than the share of them that its container may use
    /// (<see cref="Environment.ProcessorCount"/>); logical processors where the system does not tell cores apart.
    /// </summary>
    public static int PhysicalCores()
    {
        int cores = OperatingSystem.IsLinux() ? AllowedCores() : OperatingSystem.IsWindows() ? WindowsCores() : int.MaxValue;
        return Math.Clamp(cores, 1, Environment.ProcessorCount);
    }

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

    /// <summary>Counts the records of Windows' SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX: each begins with its kind and its size.</summary>
    public static int CountRecords(ReadOnlySpan<byte> records)
    {
        const int Header = 2 * sizeof(int);
        int count = 0;
        while (records.Length >= Header)
        {
            int size = BinaryPrimitives.ReadInt32LittleEndian(records[sizeof(int)..]);
            if (size < Header || size > records.Length) break;
            records = records[size..];
            count++;
        }
        return count;
    }

    private static int WindowsCores()
    {
        const int RelationProcessorCore = 0;
        int length = 0;
        _ = GetLogicalProcessorInformationEx(RelationProcessorCore, null, ref length);
        byte[] records = new byte[Math.Max(length, 1)];
        fixed (byte* buffer = records)
        {
            if (GetLogicalProcessorInformationEx(RelationProcessorCore, buffer, ref length) == 0) return int.MaxValue;
        }
        int cores = CountRecords(records.AsSpan(0, length));
        return cores == 0 ? int.MaxValue : cores;
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

    [LibraryImport("kernel32")]
    private static partial int GetLogicalProcessorInformationEx(int relationship, byte* buffer, ref int length);
}
