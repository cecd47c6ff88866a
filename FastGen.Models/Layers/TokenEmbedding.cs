using FastGen.Compute;

namespace FastGen.Models;

/// <summary>hidden = project(table[token]) + positions[position + offset]; projection and positions where the model has them.</summary>
internal sealed class TokenEmbedding(Tensor table)
{
    /// <summary>Maps the table's columns to the residual stream's; null where they are the same.</summary>
    public LinearWeights? Projection { get; init; }

    /// <summary>Learned positions; null for none.</summary>
    public Tensor? Positions { get; init; }

    /// <summary>Row of the first position.</summary>
    public int PositionOffset { get; init; }

    public void Forward(in ForwardPass pass)
    {
        Activations buffers = pass.Buffers;
        pass.Backend.Embed(buffers.Embedded, table, pass.Batch);
        if (Projection is not null) pass.Backend.Linear(buffers.Hidden, new LinearInput(buffers.Embedded), Projection);
        if (Positions is { } positions) pass.Backend.AddPositions(buffers.Hidden, positions, PositionOffset, pass.Batch);
    }
}
