using System.Runtime.InteropServices;

namespace FastGen.Compute;

/// <summary>Sampling parameters as they lie with a slot: plain numbers, so that they can be copied to a device.</summary>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct SlotSampling
{
    /// <summary>Divides the logits; 0 picks the most likely token.</summary>
    public float Temperature { get; init; }

    /// <summary>Keeps the smallest set of most likely tokens whose probability reaches this; 1 keeps all.</summary>
    public float TopP { get; init; }

    /// <summary>Drops tokens less likely than this share of the most likely; 0 drops none.</summary>
    public float MinP { get; init; }

    /// <summary>Divides positive and multiplies negative logits of tokens that stand in the prompt or the output; 1 changes nothing.</summary>
    public float RepetitionPenalty { get; init; }

    /// <summary>Subtracted from the logits of tokens that stand in the output.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Subtracted from the logits of tokens in the output, once an occurrence.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Keeps this many most likely tokens; 0 keeps all.</summary>
    public int TopK { get; init; }

    /// <summary>Tokens at this position and later are output, for the presence and frequency penalties.</summary>
    public int PromptLength { get; init; }

    /// <summary>0 where no log probabilities are wanted; 1 for the drawn token's, 1 + n for those of the n most likely tokens too.</summary>
    public int LogProbabilities { get; init; }

    /// <summary>Key of the counter-based generator.</summary>
    public ulong Seed { get; init; }

    /// <summary>True where the draw needs the history of the sequence.</summary>
    public bool HasPenalties => RepetitionPenalty != 1 || PresencePenalty != 0 || FrequencyPenalty != 0;
}
