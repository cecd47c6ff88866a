using FastGen.Compute;

namespace FastGen.Tests.Kernels;

/// <summary>Batches and shapes for tests of single operations.</summary>
public static class Batches
{
    /// <summary>One prompt in slot 0, whose blocks are the first ones.</summary>
    public static RaggedBatch Of(int[] tokens, int firstPosition = 0)
    {
        const int BlockSize = 16;
        int blocks = ((firstPosition + tokens.Length) / BlockSize) + 1;
        RaggedBatch batch = new(new StepLimits(Math.Max(tokens.Length, BlockSize), 1, BlockSize, blocks));
        batch.Clear();
        int[] table = [.. Enumerable.Range(0, blocks)];
        for (int i = 0; i < Math.Min(blocks, 2); i++) batch.SetBlock(0, i, i);
        batch.AddSequence(0, tokens, firstPosition, table);
        return batch;
    }

    /// <summary>A shape in which only the vocabulary matters.</summary>
    public static ModelShape Shape(int vocabularySize = 256, int maxContext = 512) => new()
    {
        Layers = 1,
        HiddenSize = 8,
        VocabularySize = vocabularySize,
        MlpColumns = 8,
        Heads = 1,
        KvHeads = 1,
        HeadDim = 8,
        MaxContext = maxContext,
        WeightType = DType.F32,
    };
}
