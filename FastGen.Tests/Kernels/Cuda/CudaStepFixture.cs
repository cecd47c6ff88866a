using FastGen.Compute;

namespace FastGen.Tests;

/// <summary>What tests of operations that read a batch share.</summary>
public abstract class CudaStepFixture : CudaFixture
{
    private protected const int Vocabulary = 517;

    private protected void Prepare(StepLimits limits, int heads, int kvHeads, int headDim, DType type)
    {
        ModelShape shape = new() { Layers = 1, HiddenSize = 64, VocabularySize = Vocabulary, MlpColumns = 64, Heads = heads, KvHeads = kvHeads, HeadDim = headDim, MaxContext = 400, WeightType = type };
        Cuda.Prepare(shape, limits);
        Reference.Prepare(shape, limits);
    }

    private protected Twin Rotary(int positions, int columns)
    {
        float[] values = new float[positions * columns];
        for (int position = 0; position < positions; position++)
        {
            for (int i = 0; i < columns / 2; i++)
            {
                double angle = position * Math.Pow(10000, -2.0 * i / columns);
                (values[(position * columns) + i], values[(position * columns) + (columns / 2) + i]) = ((float)Math.Cos(angle), (float)Math.Sin(angle));
            }
        }
        return Make(DType.F32, DType.F32, positions, columns, values, weights: false);
    }

    private protected void Refill(Twin twin, DType type)
    {
        float[] values = Values(type, twin.Cuda.Rows * twin.Cuda.Columns, 2);
        Cuda.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values), DType.F32, twin.Cuda);
        Reference.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values), DType.F32, twin.Reference);
    }

    /// <summary>Sequences with scattered blocks that grow from step to step.</summary>
    private protected sealed class Pool
    {
        private readonly StepLimits _limits;
        private readonly int[][] _blocks;
        private readonly int[] _lengths;
        private readonly bool[] _sent;
        private readonly Random _random;

        public Pool(StepLimits limits, Random random)
        {
            (_limits, _random) = (limits, random);
            int[] all = [.. Enumerable.Range(0, limits.Sequences * limits.BlocksPerSequence)];
            random.Shuffle(all);
            _blocks = [.. all.Chunk(limits.BlocksPerSequence)];
            _lengths = new int[limits.Sequences];
            _sent = new bool[limits.Sequences];
        }

        public RaggedBatch Batch((int Slot, int Count)[] step)
        {
            RaggedBatch batch = new(_limits);
            batch.Clear();
            foreach ((int slot, int count) in step)
            {
                if (!_sent[slot])
                {
                    _sent[slot] = true;
                    batch.SetSampling(slot, SamplingParameters.Greedy.ForSlot(0, 1));
                }
                int size = _limits.BlockSize;
                for (int i = (_lengths[slot] + size - 1) / size; i < (_lengths[slot] + count + size - 1) / size; i++) batch.SetBlock(slot, i, _blocks[slot][i]);
                int[] tokens = [.. Enumerable.Range(0, count).Select(_ => _random.Next(Vocabulary))];
                batch.AddSequence(slot, tokens, _lengths[slot], _blocks[slot]);
                batch.AddLogitRow();
                _lengths[slot] += count;
            }
            return batch;
        }
    }
}
