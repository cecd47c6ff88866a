namespace FastGen.Models;

/// <summary>How far a model has been loaded.</summary>
/// <param name="BytesLoaded">Bytes of the checkpoint that have been read.</param>
/// <param name="TotalBytes">Bytes of all its tensors; some, such as a stored copy of tied weights, may not be needed.</param>
/// <param name="Tensor">The tensor last read.</param>
public readonly record struct LoadProgress(long BytesLoaded, long TotalBytes, string Tensor);
