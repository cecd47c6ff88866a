namespace FastGen.Tests;

/// <summary>A Llama of a few thousand weights, written as a model folder, for tests of loading.</summary>
public static class TinyLlama
{
    public const int Vocabulary = 16, Hidden = 8, Intermediate = 12, Layers = 2;

    public const string Config =
        """{"architectures": ["LlamaForCausalLM"], "vocab_size": 16, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "tie_word_embeddings": false}""";

    /// <summary>All tensors, in the order in which they are loaded.</summary>
    public static List<(string Name, int[] Shape, float[] Values)> Tensors()
    {
        Random random = new(7);
        List<(string, int[], float[])> tensors = [];
        void Add(string name, params int[] shape) => tensors.Add((name, shape, [.. Enumerable.Range(0, shape.Aggregate(1, (a, b) => a * b)).Select(_ => random.NextSingle() - 0.5f)]));
        Add("model.embed_tokens.weight", Vocabulary, Hidden);
        for (int layer = 0; layer < Layers; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            Add(prefix + "self_attn.q_proj.weight", Hidden, Hidden);
            Add(prefix + "self_attn.k_proj.weight", Hidden / 2, Hidden);
            Add(prefix + "self_attn.v_proj.weight", Hidden / 2, Hidden);
            Add(prefix + "self_attn.o_proj.weight", Hidden, Hidden);
            Add(prefix + "mlp.gate_proj.weight", Intermediate, Hidden);
            Add(prefix + "mlp.up_proj.weight", Intermediate, Hidden);
            Add(prefix + "mlp.down_proj.weight", Hidden, Intermediate);
            Add(prefix + "input_layernorm.weight", Hidden);
            Add(prefix + "post_attention_layernorm.weight", Hidden);
        }
        Add("model.norm.weight", Hidden);
        Add("lm_head.weight", Vocabulary, Hidden);
        return tensors;
    }

    /// <summary>Writes the folder, with changes.</summary>
    public static void Write(string folder, Action<List<(string Name, int[] Shape, float[] Values)>>? change = null, string config = Config)
    {
        List<(string Name, int[] Shape, float[] Values)> tensors = Tensors();
        change?.Invoke(tensors);
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        SafetensorsWriter.Write(Path.Combine(folder, "model.safetensors"), tensors);
    }

    /// <summary>Writes it in two shards with an index.</summary>
    public static void WriteShards(string folder)
    {
        List<(string Name, int[] Shape, float[] Values)> tensors = Tensors();
        int half = tensors.Count / 2;
        File.WriteAllText(Path.Combine(folder, "config.json"), Config);
        SafetensorsWriter.Write(Path.Combine(folder, "first.safetensors"), tensors[..half]);
        SafetensorsWriter.Write(Path.Combine(folder, "second.safetensors"), tensors[half..]);
        string map = string.Join(",", tensors.Select((tensor, index) => $"\"{tensor.Name}\":\"{(index < half ? "first" : "second")}.safetensors\""));
        File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"), $"{{\"metadata\":{{\"total_size\":1}},\"weight_map\":{{{map}}}}}");
    }
}
