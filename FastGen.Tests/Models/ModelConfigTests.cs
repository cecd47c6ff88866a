using System.Text.Json;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Configurations: the kit's, by folder, and single faults.</summary>
public sealed class ModelConfigTests
{
    private const string Llama =
        """{"architectures": ["LlamaForCausalLM"], "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}""";

    private static readonly string[] NotForParsing = ["unsupported", "odd_and_bad_mlxd"];

    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fastgen").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    public static IEnumerable<TestCaseData> Published() => Configs(path => !NotForParsing.Any(part => path.StartsWith(part + "/", StringComparison.Ordinal)));

    public static IEnumerable<TestCaseData> Unsupported() => Configs(path => path.StartsWith("unsupported/", StringComparison.Ordinal));

    public static IEnumerable<TestCaseData> Odd() => Configs(path => path.StartsWith("odd_and_bad_mlxd/", StringComparison.Ordinal));

    [TestCaseSource(nameof(Published))]
    public void Read_PublishedConfig_GivesItsSizesOrRefusesItsArchitecture(string? path)
    {
        string file = KitFile(path);
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(file));
        if (!json.RootElement.TryGetProperty("architectures", out _) && !json.RootElement.TryGetProperty("model_type", out _))
        {
            Assert.That(() => ModelConfig.Read(file), Throws.InstanceOf<ModelLoadException>().With.Message.Contains("neither architectures nor model_type"));
            return;
        }
        try
        {
            ModelConfig config = ModelConfig.Read(file);
            Assert.Multiple(() =>
            {
                Assert.That(config.VocabularySize, Is.EqualTo(json.RootElement.GetProperty("vocab_size").GetInt32()));
                Assert.That(config.HiddenSize, Is.EqualTo(json.RootElement.GetProperty("hidden_size").GetInt32()));
                Assert.That(config.Heads % config.KvHeads, Is.Zero);
                Assert.That(config.Windows, Has.Count.EqualTo(config.Layers));
                Assert.That(config.ShapeFor(Compute.DType.BF16).MaxContext, Is.Positive);
            });
        }
        catch (UnsupportedModelException exception)
        {
            Assert.That(exception.Field, Is.AnyOf("architectures", "model_type"), exception.Message);
        }
    }

    // A family may have become supported since the folder was made; then nothing but its name can have been the reason.
    [TestCaseSource(nameof(Unsupported))]
    public void Read_UnsupportedConfig_NamesTheField(string? path)
    {
        string file = KitFile(path);
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(file));
        if (ModelFamily.IsSupported(json.RootElement) && !json.RootElement.TryGetProperty("quantization_config", out _))
        {
            Assert.That(() => ModelConfig.Read(file), Throws.Nothing);
            return;
        }
        UnsupportedModelException exception = Assert.Throws<UnsupportedModelException>(() => ModelConfig.Read(file))!;
        Assert.That(exception.Message, Does.Contain(Path.GetFileName(file)).And.Contain(exception.Field).And.Contain("supported"));
    }

    [TestCaseSource(nameof(Odd))]
    public void Read_OddConfig_IsReadOrExplained(string? path)
    {
        string file = KitFile(path);
        try
        {
            ModelConfig config = ModelConfig.Read(file);
            GenerationConfig.Read(Path.Combine(Path.GetDirectoryName(file)!, "generation_config.json"), config);
        }
        catch (ModelLoadException exception)
        {
            Assert.That(exception.Message, Does.Contain(".json").And.Length.GreaterThan(30));
        }
    }

    [TestCase("num_attention_heads", "0")]
    [TestCase("num_attention_heads", "5")]
    [TestCase("num_key_value_heads", "3")]
    [TestCase("num_key_value_heads", "\"2\"")]
    [TestCase("hidden_size", "-64")]
    [TestCase("hidden_size", "5000000000")]
    [TestCase("hidden_size", "64.5")]
    [TestCase("hidden_size", "null")]
    [TestCase("num_hidden_layers", "1000000")]
    [TestCase("vocab_size", "[320]")]
    [TestCase("max_position_embeddings", "5000000000")]
    [TestCase("rms_norm_eps", "\"1e-6\"")]
    [TestCase("rms_norm_eps", "1e39")]
    [TestCase("rope_theta", "0")]
    [TestCase("tie_word_embeddings", "1")]
    [TestCase("hidden_act", "42")]
    [TestCase("layer_types", "\"full_attention\"")]
    [TestCase("layer_types", "[\"full_attention\"]")]
    [TestCase("layer_types", "[\"sliding_attention\", \"full_attention\"]")]
    [TestCase("eos_token_id", "\"</s>\"")]
    [TestCase("intermediate_size", "null")]
    public void Read_ImpossibleValue_NamesFileAndField(string field, string value)
    {
        string path = Write(With(Llama, field, value));
        Assert.That(() => ModelConfig.Read(path), Throws.InstanceOf<ModelLoadException>().With.Message.Contains(path).And.Message.Contains(field is "num_attention_heads" && value == "5" ? "hidden_size" : field));
    }

    [TestCase("hidden_act", "\"quick_gelu\"")]
    [TestCase("layer_types", "[\"full_attention\", \"linear_attention\"]")]
    [TestCase("partial_rotary_factor", "0.5")]
    [TestCase("attn_logit_softcapping", "50.0")]
    [TestCase("rope_interleaved", "true")]
    [TestCase("logits_scaling", "8.0")]
    [TestCase("architectures", "[\"GemmaForCausalLM\"]")]
    public void Read_UnsupportedValue_NamesFieldAndValue(string field, string value)
    {
        string path = Write(With(Llama, field, value));
        UnsupportedModelException exception = Assert.Throws<UnsupportedModelException>(() => ModelConfig.Read(path))!;
        Assert.Multiple(() =>
        {
            Assert.That(exception.Field, Is.EqualTo(field));
            Assert.That(exception.Value, Is.EqualTo(value.Replace(" ", "", StringComparison.Ordinal)).Or.EqualTo(value));
            Assert.That(exception.Message, Does.Contain(path));
        });
    }

    [TestCase("quantization_config", """{"quant_method": "gptq", "bits": 4}""", "gptq")]
    [TestCase("quantization_config", """{"quant_method": "awq"}""", "awq")]
    [TestCase("quantization", """{"group_size": 64, "bits": 4}""", "quantization")]
    public void Read_QuantizedModel_NamesTheMethod(string field, string value, string method)
    {
        string path = Write(With(Llama, field, value));
        Assert.That(() => ModelConfig.Read(path), Throws.InstanceOf<UnsupportedModelException>().With.Message.Contains(method).And.Message.Contains("unquantized"));
    }

    [TestCase("rope_scaling", """{"\ud800": 1}""")]
    [TestCase("quantization_config", """{"\ud800": "x"}""")]
    public void Read_HalfASurrogateInAName_IsRefused(string field, string value)
    {
        string path = Write(With(Llama, field, value));
        Assert.That(() => ModelConfig.Read(path), Throws.InstanceOf<ModelLoadException>().With.Message.Contains(path).And.Message.Contains("surrogate"));
    }

    [Test]
    public void Read_BrokenJson_NamesTheFile()
    {
        string path = Write("{\"vocab_size\": ");
        Assert.That(() => ModelConfig.Read(path), Throws.InstanceOf<ModelLoadException>().With.Message.Contains(path).And.Message.Contains("JSON"));
    }

    [Test]
    public void Read_MissingFile_SaysWhatAFolderHas() =>
        Assert.That(() => ModelConfig.Read(Path.Combine(_folder, "config.json")), Throws.InstanceOf<ModelLoadException>().With.Message.Contains("config.json"));

    [Test]
    public void Read_WindowsOnSomeLayers_AreKeptApart()
    {
        string qwen = Llama.Replace("LlamaForCausalLM", "Qwen2ForCausalLM", StringComparison.Ordinal);
        ModelConfig later = ModelConfig.Read(Write(With(With(With(qwen, "use_sliding_window", "true"), "sliding_window", "16"), "max_window_layers", "1")));
        ModelConfig off = ModelConfig.Read(Write(With(qwen, "sliding_window", "16")));
        ModelConfig listed = ModelConfig.Read(Write(With(With(With(qwen, "use_sliding_window", "true"), "sliding_window", "16"), "layer_types", "[\"sliding_attention\", \"sliding_attention\"]")));
        Assert.Multiple(() =>
        {
            Assert.That(later.Windows, Is.EqualTo(new[] { 0, 16 }));
            Assert.That(later.ShapeFor(Compute.DType.F32).CacheWindow, Is.Zero);
            Assert.That(off.Windows, Is.EqualTo(new[] { 0, 0 }));
            Assert.That(listed.Windows, Is.EqualTo(new[] { 16, 16 }));
            Assert.That(listed.ShapeFor(Compute.DType.F32).CacheWindow, Is.EqualTo(16));
        });
    }

    [Test]
    public void Read_WindowNullThoughSwitchedOn_IsNone()
    {
        string qwen = With(With(Llama.Replace("LlamaForCausalLM", "Qwen2ForCausalLM", StringComparison.Ordinal), "use_sliding_window", "true"), "max_window_layers", "0");
        Assert.Multiple(() =>
        {
            Assert.That(ModelConfig.Read(Write(With(qwen, "sliding_window", "null"))).Windows, Is.All.Zero);
            Assert.That(ModelConfig.Read(Write(qwen)).Windows, Is.All.EqualTo(4096), "The class default.");
        });
    }

    [TestCase("LlamaModel", "llama", "LlamaForCausalLM")]
    [TestCase("FalconModel", "falcon", "FalconForCausalLM")]
    public void Read_BaseModelSavedByItself_IsThatOfItsType(string architecture, string type, string expected) =>
        Assert.That(ModelConfig.Read(Write(With(With(Llama, "architectures", $"[\"{architecture}\"]"), "model_type", $"\"{type}\""))).Architecture, Is.EqualTo(expected));

    [Test]
    public void Read_MistralWithoutTheField_HasTheClassDefaultWindow()
    {
        string mistral = With(Llama.Replace("LlamaForCausalLM", "MistralForCausalLM", StringComparison.Ordinal), "max_position_embeddings", "8192");
        Assert.Multiple(() =>
        {
            Assert.That(ModelConfig.Read(Write(mistral)).Windows, Is.All.EqualTo(4096));
            Assert.That(ModelConfig.Read(Write(With(mistral, "sliding_window", "null"))).Windows, Is.All.Zero);
        });
    }

    [TestCase("LlamaForCausalLM", "null", 4)]
    [TestCase("MistralForCausalLM", "null", 4)]
    [TestCase("Qwen3ForCausalLM", "null", 4)]
    public void Read_KeyValueHeadsNull_AreAsManyAsQueryHeads(string architecture, string value, int expected) =>
        Assert.That(ModelConfig.Read(Write(With(Llama.Replace("LlamaForCausalLM", architecture, StringComparison.Ordinal), "num_key_value_heads", value))).KvHeads, Is.EqualTo(expected));

    [TestCase("LlamaForCausalLM", 64)]
    [TestCase("MistralForCausalLM", 8)]
    [TestCase("MixtralForCausalLM", 8)]
    [TestCase("Qwen2ForCausalLM", 32)]
    [TestCase("Qwen2MoeForCausalLM", 16)]
    [TestCase("Qwen3ForCausalLM", 32)]
    [TestCase("Qwen3MoeForCausalLM", 4)]
    public void Read_KeyValueHeadsAbsent_AreTheClassDefault(string architecture, int expected)
    {
        string json = Llama.Replace("LlamaForCausalLM", architecture, StringComparison.Ordinal).Replace("\"num_key_value_heads\": 2, ", "", StringComparison.Ordinal);
        Assert.That(ModelConfig.Read(Write(With(With(json, "num_attention_heads", "64"), "hidden_size", "512"))).KvHeads, Is.EqualTo(expected));
    }

    [TestCase("LlamaForCausalLM", "layer_norm_eps", 1e-6f)]
    [TestCase("LlamaForCausalLM", "rms_norm_eps", 0.5f)]
    [TestCase("PhiForCausalLM", "rms_norm_eps", 1e-5f)]
    [TestCase("PhiForCausalLM", "layer_norm_eps", 0.5f)]
    [TestCase("FalconForCausalLM", "layer_norm_epsilon", 0.5f)]
    public void Read_EpsilonOfTheNorms_HasTheFamilysName(string architecture, string field, float expected) =>
        Assert.That(ModelConfig.Read(Write(With(Llama.Replace("LlamaForCausalLM", architecture, StringComparison.Ordinal), field, "0.5"))).NormEpsilon, Is.EqualTo(expected));

    // Qwen names the context before the extension in both of its fields; other files name the whole one in the first.
    [TestCase("""{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}""", 2048)]
    [TestCase("""{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}""", 512)]
    [TestCase("""{"type": "linear", "factor": 2.5}""", 1280)]
    [TestCase("""{"type": "llama3", "factor": 8.0, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64}""", 512)]
    public void Read_ScaledRotation_ReachesTheExtendedContext(string scaling, int expected) =>
        Assert.That(ModelConfig.Read(Write(With(Llama, "rope_scaling", scaling))).MaxContext, Is.EqualTo(expected));

    [TestCase("""{"rope_type": "linear", "factor": 4.0}""", 4)]
    [TestCase("{}", 2)]
    [TestCase("null", 2)]
    public void Read_BothFormsOfRotaryFields_TakesTheOldOneThatSaysSomething(string old, double divisor)
    {
        string json = With(With(Llama, "rope_parameters", """{"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}"""), "rope_scaling", old);
        Assert.That(ModelConfig.Read(Write(json)).Rotary!.Frequencies(0, 0)[0], Is.EqualTo(1 / divisor));
    }

    [TestCase("""{"type": "yarn", "factor": 2.0, "rope_theta": 1}""")]
    [TestCase("""{"type": "longrope", "factor": 2.0, "short_factor": [1, 1, 1, 1, 1, 1, 1, 1], "long_factor": [1, 1, 1, 1, 1, 1, 1, 1], "original_max_position_embeddings": 1}""")]
    public void Read_RotationThatIsNotFinite_IsRefused(string scaling) =>
        Assert.That(() => ModelConfig.Read(Write(With(Llama, "rope_scaling", scaling))), Throws.InstanceOf<ModelLoadException>().With.Message.Contains("finite"));

    [Test]
    public void Read_LongropeOfPhi3_TakesTheOriginalContextOfItsClass()
    {
        const string longrope = """{"type": "longrope", "short_factor": [1, 1, 1, 1, 1, 1, 1, 1], "long_factor": [2, 2, 2, 2, 2, 2, 2, 2], "original_max_position_embeddings": 64}""";
        string llama = With(Llama, "rope_scaling", longrope), phi = llama.Replace("LlamaForCausalLM", "Phi3ForCausalLM", StringComparison.Ordinal);
        Assert.Multiple(() =>
        {
            Assert.That(((LongRotaryScaling)ModelConfig.Read(Write(llama)).Rotary!).OriginalContext, Is.EqualTo(64));
            Assert.That(ModelConfig.Read(Write(llama)).ShapeFor(Compute.DType.F32).RecomputeBeyond, Is.Zero, "Other classes keep their cache.");
            Assert.That(ModelConfig.Read(Write(phi)).ShapeFor(Compute.DType.F32).RecomputeBeyond, Is.EqualTo(4096));
            Assert.That(ModelConfig.Read(Write(With(phi, "original_max_position_embeddings", "32"))).ShapeFor(Compute.DType.F32).RecomputeBeyond, Is.EqualTo(32));
        });
    }

    [Test]
    public void Read_DynamicRotary_LimitsPromptsToTheTrainedContext()
    {
        ModelConfig config = ModelConfig.Read(Write(With(Llama, "rope_scaling", """{"type": "dynamic", "factor": 4.0}""")));
        Assert.That((config.MaxContext, config.MaxPrompt), Is.EqualTo((2048, 512)));
    }

    [Test]
    public void Generation_ListOfEndTokens_WinsOverTheModels()
    {
        ModelConfig config = ModelConfig.Read(Write(With(With(Llama, "eos_token_id", "2"), "pad_token_id", "-1")));
        string path = Path.Combine(_folder, "generation_config.json");
        File.WriteAllText(path, """{"eos_token_id": [7, 8, 7], "do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 20}""");
        GenerationConfig generation = GenerationConfig.Read(path, config);
        SamplingParameters sampling = generation.ToSamplingParameters();
        Assert.Multiple(() =>
        {
            Assert.That(generation.EndOfSequenceIds, Is.EqualTo(new[] { 7, 8 }));
            Assert.That(generation.PaddingId, Is.Null);
            Assert.That((sampling.Temperature, sampling.TopP, sampling.TopK), Is.EqualTo((0.6f, 0.9f, 20)));
            Assert.That(GenerationConfig.Read(Path.Combine(_folder, "absent.json"), config).EndOfSequenceIds, Is.EqualTo(new[] { 2 }));
        });
    }

    [Test]
    public void Generation_WhatTheFileLeavesOpen_IsCompletedAsInTransformers()
    {
        SamplingParameters drawing = Generation("""{"do_sample": true}"""), greedy = Generation("""{"temperature": 0.7, "top_p": 0.8}"""), open = Generation("""{"do_sample": true, "top_k": 0}""");
        Assert.Multiple(() =>
        {
            Assert.That((drawing.Temperature, drawing.TopK, drawing.TopP), Is.EqualTo((1f, 50, 1f)));
            Assert.That(greedy.Temperature, Is.Zero, "Without do_sample, the most likely token.");
            Assert.That(open.TopK, Is.Zero);
            Assert.That((drawing.MaxNewTokens, drawing.MaxLength), Is.EqualTo(((int?)SamplingParameters.DefaultMaxNewTokens, (int?)null)));
        });
    }

    [TestCase("""{"max_length": 40}""", null, 40)]
    [TestCase("""{"max_length": 40, "max_new_tokens": 7}""", 7, null)]
    [TestCase("""{"min_new_tokens": 300}""", 300, null)]
    public void Generation_Lengths_NewTokensComeBeforeTheWhole(string json, int? newTokens, int? length)
    {
        SamplingParameters sampling = Generation(json);
        Assert.That((sampling.MaxNewTokens, sampling.MaxLength), Is.EqualTo((newTokens, length)));
        Assert.That(sampling.Validate, Throws.Nothing);
    }

    [TestCase("\"</end>\"", new[] { "</end>" })]
    [TestCase("[\"a\", \"b\"]", new[] { "a", "b" })]
    [TestCase("null", new string[0])]
    public void Generation_StopStrings_AreTextOrList(string json, string[] expected) =>
        Assert.That(Generation($$"""{"stop_strings": {{json}}}""").StopStrings, Is.EqualTo(expected));

    [TestCase("""{"num_beams": 4, "do_sample": false}""", "num_beams = 4")]
    [TestCase("""{"no_repeat_ngram_size": 3}""", "no_repeat_ngram_size = 3")]
    [TestCase("""{"do_sample": true, "typical_p": 0.9}""", "typical_p = 0.9")]
    [TestCase("""{"typical_p": 0.9}""", "")]
    [TestCase("""{"suppress_tokens": [1, 2], "bad_words_ids": null}""", "suppress_tokens = [1, 2]")]
    [TestCase("""{"num_beams": 1, "typical_p": 1.0, "forced_eos_token_id": null, "begin_suppress_tokens": [], "max_time": null, "early_stopping": false}""", "")]
    public void Load_GenerationThatIsNotFollowed_IsLoggedByName(string json, string expected)
    {
        ModelConfig config = ModelConfig.Read(Write(Llama));
        string path = Path.Combine(_folder, "generation_config.json");
        File.WriteAllText(path, json);
        Assert.That(string.Join(", ", GenerationConfig.Read(path, config).NotFollowed), Is.EqualTo(expected));
    }

    private SamplingParameters Generation(string json)
    {
        ModelConfig config = ModelConfig.Read(Write(Llama));
        string path = Path.Combine(_folder, "generation_config.json");
        File.WriteAllText(path, json);
        return GenerationConfig.Read(path, config).ToSamplingParameters();
    }

    [TestCase("""{"repetition_penalty": 0}""", "repetition_penalty")]
    [TestCase("""{"repetition_penalty": 1e60}""", "repetition_penalty")]
    [TestCase("""{"stop_strings": [""]}""", "stop_strings")]
    [TestCase("""{"min_new_tokens": 9, "max_new_tokens": 8}""", "min_new_tokens")]
    [TestCase("""{"max_length": 0}""", "max_length")]
    [TestCase("""{"max_length": 1}""", "max_length")]
    [TestCase("""{"top_p": 1.5}""", "top_p")]
    [TestCase("""{"temperature": -1}""", "temperature")]
    [TestCase("""{"top_k": -3}""", "top_k")]
    [TestCase("""{"do_sample": "yes"}""", "do_sample")]
    public void Generation_ImpossibleValue_NamesTheField(string json, string field)
    {
        ModelConfig config = ModelConfig.Read(Write(Llama));
        string path = Path.Combine(_folder, "generation_config.json");
        File.WriteAllText(path, json);
        Assert.That(() => GenerationConfig.Read(path, config), Throws.InstanceOf<ModelLoadException>().With.Message.Contains(field).And.Message.Contains(path));
    }

    private static IEnumerable<TestCaseData> Configs(Func<string, bool> include)
    {
        string? root = ConformanceKit.Root is null ? null : Path.Combine(ConformanceKit.Root, "configs");
        if (root is null || !Directory.Exists(root)) return [new TestCaseData((string?)null)];
        return Directory.EnumerateFiles(root, "*.json", SearchOption.AllDirectories)
            .Where(file => Path.GetFileName(file) is "config.json" || Path.GetFileName(Path.GetDirectoryName(file)) is "configs" or "unsupported" || Path.GetFileName(Path.GetDirectoryName(file))!.EndsWith("_quoted", StringComparison.Ordinal) || Path.GetFileName(Path.GetDirectoryName(file)) is "mlc_presets")
            .Select(file => Path.GetRelativePath(root, file).Replace('\\', '/')).Where(include).Order(StringComparer.Ordinal)
            .Select(path => new TestCaseData(path).SetArgDisplayNames(path));
    }

    private static string KitFile(string? path) => Path.Combine(ConformanceKit.Folder("configs"), path ?? "");

    // The fixture's JSON with one field set.
    private static string With(string json, string field, string value)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        IEnumerable<string> others = document.RootElement.EnumerateObject().Where(property => property.Name != field).Select(property => $"\"{property.Name}\": {property.Value.GetRawText()}");
        return $"{{{string.Join(", ", others.Append($"\"{field}\": {value}"))}}}";
    }

    private string Write(string json)
    {
        string path = Path.Combine(_folder, "config.json");
        File.WriteAllText(path, json);
        return path;
    }
}
