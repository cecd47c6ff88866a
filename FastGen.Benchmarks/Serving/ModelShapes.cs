namespace FastGen.Benchmarks.Serving;

/// <summary>Configurations of published models, for serving their shape with random weights.</summary>
internal static class ModelShapes
{
    public static IReadOnlyDictionary<string, string> All { get; } = new Dictionary<string, string>
    {
        ["llama3-8b"] = """
            {"architectures": ["LlamaForCausalLM"], "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
             "hidden_act": "silu", "tie_word_embeddings": false}
            """,
        ["llama3.2-1b"] = """
            {"architectures": ["LlamaForCausalLM"], "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
             "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
             "rope_theta": 500000.0, "hidden_act": "silu", "tie_word_embeddings": true}
            """,
        ["qwen3-0.6b"] = """
            {"architectures": ["Qwen3ForCausalLM"], "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
             "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
             "rope_theta": 1000000, "hidden_act": "silu", "attention_bias": false, "use_sliding_window": false, "tie_word_embeddings": true}
            """,
        ["phi-2"] = """
            {"architectures": ["PhiForCausalLM"], "vocab_size": 51200, "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 2048, "layer_norm_eps": 1e-5, "rope_theta": 10000.0,
             "partial_rotary_factor": 0.4, "qk_layernorm": false, "hidden_act": "gelu_new", "tie_word_embeddings": false}
            """,
        ["mixtral-8x7b"] = """
            {"architectures": ["MixtralForCausalLM"], "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
             "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": null, "hidden_act": "silu", "tie_word_embeddings": false}
            """,
    };

    /// <exception cref="ArgumentException">There is no shape of that name.</exception>
    public static string Config(string name) =>
        All.TryGetValue(name, out string? config) ? config : throw new ArgumentException($"--shape is {name}; it must be {string.Join(", ", All.Keys)}.");
}
