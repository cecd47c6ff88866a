using System.Runtime.CompilerServices;
using FastGen.Compute;

namespace FastGen.Kernels;

// What each operation needs of its operands.
public sealed partial class CheckedBackend
{
    /// <inheritdoc/>
    public void Embed(Tensor output, Tensor table, RaggedBatch batch)
    {
        RequireBatchRows(output, "output", batch);
        RequireWeights(table, "table", table.Rows, output.Columns);
        inner.Embed(output, table, batch);
    }

    /// <inheritdoc/>
    public void AddPositions(Tensor output, Tensor table, int offset, RaggedBatch batch)
    {
        RequireBatchRows(output, "output", batch);
        RequireRows(table, "table", table.Rows, output.Columns);
        foreach (int position in batch.Positions) Require(position + offset >= 0 && position + offset < table.Rows, $"position {position} with offset {offset} is outside a table of {table.Rows} rows");
        inner.AddPositions(output, table, offset, batch);
    }

    /// <inheritdoc/>
    public void Norm(Tensor output, Tensor input, NormWeights weights)
    {
        RequireRowMajor(input, "input");
        RequireRows(output, "output", input.Rows, input.Columns);
        RequireNorm(weights, "weights", input.Columns);
        inner.Norm(output, input, weights);
    }

    /// <inheritdoc/>
    public void Linear(Tensor output, in LinearInput input, LinearWeights weights, Activation activation = Activation.None, bool accumulate = false)
    {
        RequireInput(input);
        RequireLinear(weights, "weights", output.Columns, input.Rows.Columns);
        RequireRows(output, "output", input.Rows.Rows, weights.Outputs);
        Require(Enum.IsDefined(activation), $"{activation} is no activation");
        inner.Linear(output, input, weights, activation, accumulate);
    }

    /// <inheritdoc/>
    public void LinearSum(Tensor output, Tensor first, LinearWeights firstWeights, Tensor second, LinearWeights secondWeights)
    {
        RequireLinear(firstWeights, "first weights", output.Columns, first.Columns);
        RequireLinear(secondWeights, "second weights", output.Columns, second.Columns);
        RequireRows(output, "output", first.Rows, output.Columns);
        RequireRows(second, "second", first.Rows, second.Columns);
        inner.LinearSum(output, first, firstWeights, second, secondWeights);
    }

    /// <inheritdoc/>
    public void GatedLinear(Tensor output, in LinearInput input, LinearWeights gateUp, Activation activation)
    {
        RequireInput(input);
        RequireLinear(gateUp, "gateUp", 2 * output.Columns, input.Rows.Columns);
        RequireRows(output, "output", input.Rows.Rows, output.Columns);
        Require(Enum.IsDefined(activation), $"{activation} is no activation");
        inner.GatedLinear(output, input, gateUp, activation);
    }

    /// <inheritdoc/>
    public void StoreKv(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        RequireStore(qkv, cache, attention, batch);
        inner.StoreKv(qkv, cache, attention, batch);
    }

    /// <inheritdoc/>
    public void ProjectQkv(Tensor qkv, in LinearInput input, LinearWeights weights, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        RequireInput(input);
        RequireLinear(weights, "weights", qkv.Columns, input.Rows.Columns);
        RequireRows(qkv, "qkv", input.Rows.Rows, weights.Outputs);
        RequireStore(qkv, cache, attention, batch);
        inner.ProjectQkv(qkv, input, weights, cache, attention, batch);
    }

    /// <inheritdoc/>
    public void ProjectQkvAndUp(Tensor qkv, Tensor up, in LinearInput input, LinearWeights qkvWeights, LinearWeights upWeights, Activation activation, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        RequireInput(input);
        RequireLinear(qkvWeights, "qkv weights", qkv.Columns, input.Rows.Columns);
        RequireLinear(upWeights, "up weights", up.Columns, input.Rows.Columns);
        RequireRows(qkv, "qkv", input.Rows.Rows, qkv.Columns);
        RequireRows(up, "up", input.Rows.Rows, up.Columns);
        Require(Enum.IsDefined(activation), $"{activation} is no activation");
        RequireStore(qkv, cache, attention, batch);
        inner.ProjectQkvAndUp(qkv, up, input, qkvWeights, upWeights, activation, cache, attention, batch);
    }

    private void RequireStore(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch, [CallerMemberName] string operation = "")
    {
        RequireAttention(qkv, cache, attention, batch, operation);
        if (attention.QueryNorm is { } queryNorm) RequireNorm(queryNorm, "query norm", attention.HeadDim, operation);
        if (attention.KeyNorm is { } keyNorm) RequireNorm(keyNorm, "key norm", attention.HeadDim, operation);
        if (attention.Rotary is { } rotary)
        {
            RequireRows(rotary, "rotary table", rotary.Rows, rotary.Columns, operation);
            Require(rotary.Type == DType.F32 && rotary.Columns % 2 == 0 && rotary.Columns <= attention.HeadDim, $"a rotary table {Shape(rotary)} does not fit heads of {attention.HeadDim} columns", operation);
            for (int row = 0; row < batch.TokenCount; row++)
            {
                int turn = batch.Positions[row] + batch.RotaryBases[batch.RowSequences[row]];
                Require(turn >= 0 && turn < rotary.Rows, $"row {row} needs row {turn} of a rotary table of {rotary.Rows}", operation);
            }
        }
        if (attention.QueryScales is { } scales)
        {
            RequireVector(scales, "query scales", scales.Columns, operation);
            foreach (int length in batch.ContextLengths) Require(length <= scales.Columns, $"a context of {length} has only {scales.Columns} query scales", operation);
        }
    }

    /// <inheritdoc/>
    public void Attention(Tensor output, Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch)
    {
        RequireAttention(qkv, cache, attention, batch);
        RequireRows(output, "output", qkv.Rows, attention.QueryColumns);
        if (attention.AlibiSlopes is { } slopes) RequireVector(slopes, "ALiBi slopes", attention.Heads);
        inner.Attention(output, qkv, cache, attention, batch);
    }

    /// <inheritdoc/>
    public void MixtureOfExperts(Tensor output, in LinearInput input, ExpertWeights weights)
    {
        ArgumentNullException.ThrowIfNull(weights);
        int model = input.Rows.Columns, hidden = weights.Down.Columns;
        RequireInput(input);
        RequireRows(output, "output", input.Rows.Rows, model);
        RequireLinear(weights.Router, "router", weights.Experts, model);
        RequireWeights(weights.GateUp, "gateUp", weights.Experts * 2 * hidden, model);
        RequireWeights(weights.Down, "down", weights.Experts * model, hidden);
        Require(weights.TopK > 0 && weights.TopK <= weights.Experts, $"{weights.TopK} of {weights.Experts} experts cannot be visited");
        inner.MixtureOfExperts(output, input, weights);
    }

    /// <inheritdoc/>
    public void AddGated(Tensor output, in LinearInput input, LinearWeights gate, Tensor rows, LinearWeights down)
    {
        RequireInput(input);
        RequireLinear(gate, "gate", 1, input.Rows.Columns);
        RequireRows(rows, "rows", input.Rows.Rows, rows.Columns);
        RequireLinear(down, "down", output.Columns, rows.Columns);
        RequireRows(output, "output", input.Rows.Rows, down.Outputs);
        inner.AddGated(output, input, gate, rows, down);
    }

    /// <inheritdoc/>
    public void SelectRows(Tensor output, Tensor input, RaggedBatch batch)
    {
        RequireBatchRows(input, "input", batch);
        RequireRowMajor(output, "output");
        Require(output.Rows >= batch.LogitRowCount && output.Columns == input.Columns && output.Type == input.Type, $"output {Shape(output)} does not take {batch.LogitRowCount} rows of {Shape(input)}");
        inner.SelectRows(output, input, batch);
    }

    /// <inheritdoc/>
    public void Sample(Tensor logits, RaggedBatch batch)
    {
        RequireSubmitted(batch);
        RequireRowMajor(logits, "logits");
        Require(logits.Type == DType.F32 && logits.Rows >= batch.LogitRowCount, $"logits {Shape(logits)} are no F32 for {batch.LogitRowCount} logit rows");
        inner.Sample(logits, batch);
    }

    private void RequireInput(in LinearInput input, [CallerMemberName] string operation = "")
    {
        RequireRowMajor(input.Rows, "input", operation);
        if (input.Norm is { } norm) RequireNorm(norm, "the input's norm", input.Rows.Columns, operation);
    }

    private void RequireLinear(LinearWeights weights, string name, int outputs, int inputs, [CallerMemberName] string operation = "")
    {
        RequireWeights(weights.Weight, name, outputs, inputs, operation);
        if (weights.Bias is { } bias) RequireVector(bias, $"the bias of {name}", outputs, operation);
    }

    private void RequireWeights(Tensor tensor, string name, int rows, int columns, [CallerMemberName] string operation = "")
    {
        Allocation allocation = Find(tensor, name, operation);
        Require(allocation.Layout == Layout.Weights && tensor.Rows == allocation.Tensor.Rows, $"{name} {Shape(tensor)} is no whole weight matrix", operation);
        Require(tensor.Rows == rows && tensor.Columns == columns, $"{name} is {Shape(tensor)}, not [{rows}, {columns}]", operation);
    }

    private void RequireRows(Tensor tensor, string name, int rows, int columns, [CallerMemberName] string operation = "")
    {
        RequireRowMajor(tensor, name, operation);
        Require(tensor.Rows == rows && tensor.Columns == columns, $"{name} is {Shape(tensor)}, not [{rows}, {columns}]", operation);
    }

    private void RequireVector(Tensor tensor, string name, int columns, [CallerMemberName] string operation = "")
    {
        RequireRows(tensor, name, 1, columns, operation);
        Require(tensor.Type == DType.F32, $"{name} is {tensor.Type}, not F32", operation);
    }

    private void RequireNorm(NormWeights norm, string name, int columns, [CallerMemberName] string operation = "")
    {
        RequireVector(norm.Gamma, $"the scale of {name}", columns, operation);
        if (norm.Beta is { } beta) RequireVector(beta, $"the shift of {name}", columns, operation);
    }

    private void RequireAttention(Tensor qkv, KvLayer cache, AttentionWeights attention, RaggedBatch batch, [CallerMemberName] string operation = "")
    {
        RequireBatchRows(qkv, "qkv", batch, operation);
        Require(attention.KvHeads > 0 && attention.Heads % attention.KvHeads == 0, $"{attention.Heads} query heads do not share {attention.KvHeads} kv heads", operation);
        Require(qkv.Columns == attention.QkvColumns, $"qkv is {Shape(qkv)}, and the heads have {attention.QkvColumns} columns", operation);
        Require(Find(cache.Storage, "cache", operation).Layout == Layout.Cache, $"the cache {Shape(cache.Storage)} is no cache layer", operation);
        bool fits = cache.KvHeads == attention.KvHeads && cache.HeadDim == attention.HeadDim && cache.BlockSize == batch.Limits.BlockSize;
        Require(fits, $"the cache has {cache.KvHeads} heads of {cache.HeadDim} and blocks of {cache.BlockSize}, the layer {attention.KvHeads} of {attention.HeadDim} and the batch blocks of {batch.Limits.BlockSize}", operation);
        foreach (int place in batch.KvSlots) Require(place / cache.BlockSize < cache.Storage.Rows, $"place {place} lies in block {place / cache.BlockSize} of {cache.Storage.Rows}", operation);
    }

    // Rows may be padded beyond the batch's own.
    private void RequireBatchRows(Tensor tensor, string name, RaggedBatch batch, [CallerMemberName] string operation = "")
    {
        RequireSubmitted(batch, operation);
        RequireRowMajor(tensor, name, operation);
        Require(tensor.Rows >= batch.TokenCount, $"{name} {Shape(tensor)} has fewer rows than the batch has tokens ({batch.TokenCount})", operation);
    }

    private void RequireSubmitted(RaggedBatch batch, [CallerMemberName] string operation = "") => Require(ReferenceEquals(batch, _submitted), "its batch is not the one being submitted", operation);
}
