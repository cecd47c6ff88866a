using FastGen.Compute;

namespace FastGen.Models;

/// <summary>logits = output(project(norm(hidden))) of the rows whose logits are wanted; norm and projection where the model has them.</summary>
internal sealed class LanguageHead(NormWeights? norm, LinearWeights output)
{
    /// <summary>Maps the residual stream's columns to the embedding's; null where they are the same.</summary>
    public LinearWeights? Projection { get; init; }

    public void Forward(in ForwardPass pass)
    {
        // A step that only goes on with a prompt wants none.
        if (pass.Batch.LogitRowCount == 0) return;

        Activations buffers = pass.Buffers;
        pass.Backend.SelectRows(buffers.Last, buffers.Hidden, pass.Batch);
        LinearInput last = new(buffers.Last, norm);
        if (Projection is not null)
        {
            pass.Backend.Linear(buffers.LastEmbedded, last, Projection);
            last = new LinearInput(buffers.LastEmbedded);
        }
        pass.Backend.Linear(buffers.Logits, last, output);
    }
}
