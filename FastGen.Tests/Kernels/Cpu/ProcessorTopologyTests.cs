using FastGen.Kernels;

namespace FastGen.Tests.Kernels;

public sealed class ProcessorTopologyTests
{
    // Processors n and n + 8 share a core.
    private static string PairsOfEight(int processor) => $"{processor % 8},{(processor % 8) + 8}\n";

    [TestCase("0-15", 8)]
    [TestCase("0-3", 4)]
    [TestCase("0-1,8-9", 2)]
    [TestCase("\t5\n", 1)]
    [TestCase("0,8,1,2,10,7", 4)]
    public void CountCores_AllowedProcessors_CountsTheirCores(string processors, int cores) => Assert.That(ProcessorTopology.CountCores(processors, PairsOfEight), Is.EqualTo(cores));

    // Two cores of two threads each, then four of one.
    [Test]
    public void CountCores_MixedCores_CountsEachOnce() => Assert.That(ProcessorTopology.CountCores("0-7", processor => processor < 4 ? $"{processor / 2 * 2}-{(processor / 2 * 2) + 1}" : $"{processor}"), Is.EqualTo(6));

    [Test]
    public void CountRecords_RecordsOfTheirOwnSizes_CountsThem()
    {
        byte[] records = new byte[48 + 64 + 48];
        (records[4], records[48 + 4], records[48 + 64 + 4]) = (48, 64, 48);
        Assert.That(ProcessorTopology.CountRecords(records), Is.EqualTo(3));
        Assert.That(ProcessorTopology.CountRecords(records.AsSpan(0, 100)), Is.EqualTo(1), "what is cut off does not count");
        Assert.That(ProcessorTopology.CountRecords(new byte[64]), Is.Zero, "a record of no size ends the list");
    }

    [Test]
    public void PhysicalCores_Here_AreAtMostTheProcessors() => Assert.That(ProcessorTopology.PhysicalCores(), Is.InRange(1, Environment.ProcessorCount));
}
