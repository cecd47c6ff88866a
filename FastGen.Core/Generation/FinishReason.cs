namespace FastGen;

/// <summary>Why generation ended.</summary>
public enum FinishReason : byte
{
    /// <summary>A stop token or a stop string.</summary>
    Stop,

    /// <summary>The wanted number of tokens, or the context limit.</summary>
    Length,

    /// <summary>The caller cancelled.</summary>
    Cancelled,
}
