using FastGen.Compute;
using FastGen.Kernels.Cuda;

namespace FastGen.Tests;

/// <summary>Blocks that a window has passed belong to other sequences: whatever these write there reaches no sums.</summary>
[TestFixture(false)]
[TestFixture(true)]
public sealed class CudaWindowTests(bool deterministic) : CudaStepFixture
{
    private const int Heads = 4, KvHeads = 2, Window = 20, BlockSize = 16, Prompt = 112, Chunk = 3;

    // Of the tokens before the chunk it sees those from 93 on; block 4 ends with token 79, in the same 64 tokens.
    private const int PassedBlock = 4;

    private protected override CudaBackend MakeBackend() => new(options: new CudaOptions { Deterministic = deterministic });

    [Test]
    public void Attention_ChunkWhoseWindowHasPassedABlock_ReadsNothingOfItsNewOwner([Values(64, 80, 128, 192, 256)] int headDim)
    {
        AttentionWeights attention = new() { Heads = Heads, KvHeads = KvHeads, HeadDim = headDim, Scale = 1 / MathF.Sqrt(headDim), Window = Window };
        StepLimits limits = new(Prompt, 2, BlockSize, 8);
        Prepare(limits, Heads, KvHeads, headDim, DType.BF16);
        (KvLayer cuda, KvLayer reference) = (Cuda.AllocateKvLayer(DType.BF16, 8, BlockSize, KvHeads, headDim), Reference.AllocateKvLayer(DType.F32, 8, BlockSize, KvHeads, headDim));
        int[] own = [0, 1, 2, 3, PassedBlock, 5, 6, 7];
        Twin Step(int slot, int tokens, int position, int[] blocks, float[] values)
        {
            RaggedBatch batch = new(limits);
            for (int i = 0; i < blocks.Length; i++) batch.SetBlock(slot, i, blocks[i]);
            batch.AddSequence(slot, new int[tokens], position, blocks);
            batch.AddLogitRow();
            Twin qkv = Make(DType.F32, DType.F32, tokens, attention.QkvColumns, values, weights: false), output = Activations(DType.BF16, tokens, attention.QueryColumns);
            Cuda.Submit(batch, (_, _) => Attend(Cuda, output.Cuda, qkv.Cuda, cuda, batch));
            Reference.Submit(batch, (_, _) => Attend(Reference, output.Reference, qkv.Reference, reference, batch));
            return output;
        }
        void Attend(IBackend backend, Tensor output, Tensor qkv, KvLayer cache, RaggedBatch batch)
        {
            backend.StoreKv(qkv, cache, attention, batch);
            backend.Attention(output, qkv, cache, attention, batch);
        }

        Step(0, Prompt, 0, own, Values(DType.BF16, Prompt * attention.QkvColumns, 1));
        Step(1, BlockSize, 0, [PassedBlock], [.. Enumerable.Repeat(float.NaN, BlockSize * attention.QkvColumns)]);
        Twin output = Step(0, Chunk, Prompt, own, Values(DType.BF16, Chunk * attention.QkvColumns, 1));

        AssertClose(output, DType.BF16);
    }
}
