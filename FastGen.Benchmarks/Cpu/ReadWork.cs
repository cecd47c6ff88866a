using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using FastGen.Compute;
using FastGen.Kernels.Cpu;

namespace FastGen.Benchmarks;

/// <summary>Reads all of some matrices, with four registers in flight: the rate of memory that a kernel is held against.</summary>
internal readonly unsafe struct ReadWork : IParallelWork
{
    private readonly InlineArray16<Tensor> _matrices;
    private readonly int _count;

    public ReadWork(Tensor[] matrices)
    {
        _count = matrices.Length;
        for (int i = 0; i < matrices.Length; i++) _matrices[i] = matrices[i];
    }

    public void Run(int worker, int workers)
    {
        Vector512<int> first = default, second = default, third = default, fourth = default;
        for (int i = 0; i < _count; i++)
        {
            int* data = (int*)_matrices[i].Data;
            long vectors = _matrices[i].Bytes / 256, end = vectors * (worker + 1) / workers;
            for (long at = vectors * worker / workers * 64; at < end * 64; at += 64)
            {
                first ^= Vector512.Load(data + at);
                second ^= Vector512.Load(data + at + 16);
                third ^= Vector512.Load(data + at + 32);
                fourth ^= Vector512.Load(data + at + 48);
            }
        }
        if (Vector512.EqualsAll(first ^ second ^ third ^ fourth, Vector512.Create(0x7A3B19C5))) Console.WriteLine("a read that cannot be left out");
    }
}
