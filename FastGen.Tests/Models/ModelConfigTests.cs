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
    public void Read_MistralWithoutTheField_HasTheClassDefaultWindow()
    {
        string mistral = With(Llama.Replace("LlamaForCausalLM", "MistralForCausalLM", StringComparison.Ordinal), "max_position_embeddings", "8192");
        Assert.Multiple(() =>
        {
            Assert.That(ModelConfig.Read(Write(mistral)).Windows, Is.All.EqualTo(4096));
            Assert.That(ModelConfig.Read(Write(With(mistral, "sliding_window", "null"))).Windows, Is.All.Zero);
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
