namespace FastGen.Kernels;

/// <summary>Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): a counter-based generator without state.</summary>
internal static class Philox
{
    private const int Rounds = 10;
    private const uint Multiplier0 = 0xD2511F53, Multiplier1 = 0xCD9E8D57;
    private const uint Weyl0 = 0x9E3779B9, Weyl1 = 0xBB67AE85;

    /// <summary>A number in [0, 1): the first word of the block with counter (position, 0, 0, 0) and key (seed's low word, its high word), times 2⁻³².</summary>
    public static double Uniform(ulong seed, int position) => Block((uint)position, 0, 0, 0, (uint)seed, (uint)(seed >> 32)).Word0 * (1.0 / (1L << 32));

    /// <summary>The four words that belong to a counter and a key.</summary>
    public static (uint Word0, uint Word1, uint Word2, uint Word3) Block(uint counter0, uint counter1, uint counter2, uint counter3, uint key0, uint key1)
    {
        for (int round = 0; round < Rounds; round++)
        {
            ulong product0 = (ulong)Multiplier0 * counter0, product1 = (ulong)Multiplier1 * counter2;
            (counter0, counter1, counter2, counter3) = ((uint)(product1 >> 32) ^ counter1 ^ key0, (uint)product1, (uint)(product0 >> 32) ^ counter3 ^ key1, (uint)product0);
            key0 += Weyl0;
            key1 += Weyl1;
        }
        return (counter0, counter1, counter2, counter3);
    }
}
