namespace FastGen.Models;

/// <summary>A model whose weights are in its backend's memory.</summary>
/// <param name="Model">The network.</param>
/// <param name="Config">Its config.json.</param>
/// <param name="Generation">Its defaults for generation.</param>
public sealed record LoadedModel(CausalLM Model, ModelConfig Config, GenerationConfig Generation);
