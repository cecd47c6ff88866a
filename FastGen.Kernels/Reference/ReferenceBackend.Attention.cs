using FastGen.Compute;

namespace FastGen.Kernels.Reference;

internal sealed unsafe partial class ReferenceBackend
{
    public void StoreKv(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        int headDim = attention.HeadDim, rotated = attention.Heads + attention.KvHeads;
        for (int row = 0; row < batch.TokenCount; row++)
        {
            Span<float> values = Row(qkv, row);
            int position = batch.Positions[row];
            for (int head = 0; head < rotated; head++)
            {
                bool isQuery = head < attention.Heads;
                Span<float> vector = values.Slice(head * headDim, headDim);
                if ((isQuery ? attention.QueryNorm : attention.KeyNorm) is { } norm) Normalize(vector, vector, norm);
                if (attention.Rotary is { } table) Rotate(vector, Row(table, position + batch.RotaryBases[batch.RowSequences[row]]));
                if (isQuery && attention.QueryScales is { } scales) Scale(vector, Vector(scales)[position]);
            }
            (int block, int offset) = Math.DivRem(batch.KvSlots[row], cache.BlockSize);
            for (int head = 0; head < attention.KvHeads; head++)
            {
                values.Slice((attention.Heads + head) * headDim, headDim).CopyTo(Cached(cache, block, offset, head, isValue: false));
                values.Slice((rotated + head) * headDim, headDim).CopyTo(Cached(cache, block, offset, head, isValue: true));
            }
        }
    }

    public void Attention(Tensor output, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        for (int row = 0; row < batch.TokenCount; row++)
        {
            for (int head = 0; head < attention.Heads; head++) Attend(output, qkv, cache, attention, batch, row, head);
        }
    }

    private void Attend(Tensor output, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch, int row, int head)
    {
        int position = batch.Positions[row], headDim = attention.HeadDim, kvHead = head / (attention.Heads / attention.KvHeads);
        int first = attention.Window == 0 ? 0 : Math.Max(0, position - attention.Window + 1);
        ReadOnlySpan<int> blocks = Slots.BlockTable(batch.SequenceSlots[batch.RowSequences[row]]);
        ReadOnlySpan<float> query = Row(qkv, row).Slice(head * headDim, headDim);
        double[] weights = new double[position + 1 - first];
        for (int i = 0; i < weights.Length; i++)
        {
            int place = first + i;
            ReadOnlySpan<float> key = Cached(cache, blocks[place / cache.BlockSize], place % cache.BlockSize, kvHead, isValue: false);
            double dot = 0;
            for (int d = 0; d < headDim; d++) dot += (double)query[d] * key[d];
            weights[i] = dot * attention.Scale;
            if (attention.AlibiSlopes is { } slopes) weights[i] += (double)Vector(slopes)[head] * (place - position);
        }
        double largest = weights.Max(), sum = 0;
        double[] mixed = new double[headDim];
        for (int i = 0; i < weights.Length; i++)
        {
            int place = first + i;
            double weight = Math.Exp(weights[i] - largest);
            sum += weight;
            ReadOnlySpan<float> value = Cached(cache, blocks[place / cache.BlockSize], place % cache.BlockSize, kvHead, isValue: true);
            for (int d = 0; d < headDim; d++) mixed[d] += weight * value[d];
        }
        Span<float> target = Row(output, row).Slice(head * headDim, headDim);
        for (int d = 0; d < headDim; d++) target[d] = (float)(mixed[d] / sum);
    }

    private static Span<float> Cached(KvLayer cache, int block, int offset, int kvHead, bool isValue)
    {
        int place = (((((kvHead * 2) + (isValue ? 1 : 0)) * cache.BlockSize) + offset) * cache.HeadDim);
        return Row(cache.Storage, block).Slice(place, cache.HeadDim);
    }

    // table: cos of the first half of the rotated dimensions, then sin; dimension i turns with i + half.
    private static void Rotate(Span<float> vector, ReadOnlySpan<float> table)
    {
        int half = table.Length / 2;
        for (int i = 0; i < half; i++)
        {
            (float cos, float sin, float x, float y) = (table[i], table[half + i], vector[i], vector[half + i]);
            vector[i] = (x * cos) - (y * sin);
            vector[half + i] = (y * cos) + (x * sin);
        }
    }

    private static void Scale(Span<float> vector, float factor)
    {
        for (int i = 0; i < vector.Length; i++) vector[i] *= factor;
    }
}
