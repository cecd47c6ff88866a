using System.Diagnostics;
using System.Globalization;
using FastGen.Compute;
using FastGen.Kernels.Reference;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Loading of whole folders: what is tolerated, what is refused and how it is explained.</summary>
public sealed class ModelLoaderTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fastgen").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void Load_Shards_GiveTheSameModelAsOneFile()
    {
        TinyLlama.Write(_folder);
        float[] single = Logits();
        File.Delete(Path.Combine(_folder, "model.safetensors"));
        TinyLlama.WriteShards(_folder);
        File.WriteAllText(Path.Combine(_folder, "consolidated.safetensors"), "Mistral's own form, which nothing reads");
        Assert.That(Logits(), Is.EqualTo(single));
    }

    [Test]
    public void Load_BaseModelWithoutPrefix_IsFound()
    {
        string tied = TinyLlama.Config.Replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true", StringComparison.Ordinal);
        TinyLlama.Write(_folder, tensors => tensors.RemoveAll(tensor => tensor.Name == "lm_head.weight"), tied);
        float[] expected = Logits();
        TinyLlama.Write(_folder, tensors =>
        {
            tensors.RemoveAll(tensor => tensor.Name == "lm_head.weight");
            for (int i = 0; i < tensors.Count; i++) tensors[i] = tensors[i] with { Name = tensors[i].Name.Replace("model.", "", StringComparison.Ordinal) };
        }, tied);
        Assert.That(Logits(), Is.EqualTo(expected));
    }

    [Test]
    public void Load_TiedHeadStoredAllTheSame_CountsOnlyWhereItDiffers()
    {
        string tied = TinyLlama.Config.Replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true", StringComparison.Ordinal);
        TinyLlama.Write(_folder, tensors => tensors.RemoveAll(tensor => tensor.Name == "lm_head.weight"), tied);
        float[] withoutHead = Logits();
        TinyLlama.Write(_folder, tensors => tensors[^1] = tensors[^1] with { Values = tensors[0].Values }, tied);
        Assert.That(Logits(), Is.EqualTo(withoutHead));
        TinyLlama.Write(_folder, change: null, tied);
        float[] differing = Logits();
        TinyLlama.Write(_folder);
        Assert.That(differing, Is.EqualTo(Logits()).And.Not.EqualTo(withoutHead));
    }

    [Test]
    public void Load_FusedExperts_AreThoseStoredApart()
    {
        const int experts = 3, hidden = TinyLlama.Hidden, columns = TinyLlama.Intermediate;
        string config = TinyLlama.Config.Replace("LlamaForCausalLM", "MixtralForCausalLM", StringComparison.Ordinal)[..^1] + $", \"num_local_experts\": {experts}}}";
        TinyLlama.Write(_folder, tensors => ToExperts(tensors, experts, (prefix, gateUp, down) =>
            Enumerable.Range(0, experts).SelectMany(e => ((string, int[], float[])[])
            [
                ($"{prefix}block_sparse_moe.experts.{e}.w1.weight", [columns, hidden], gateUp[(2 * e * columns * hidden)..(((2 * e) + 1) * columns * hidden)]),
                ($"{prefix}block_sparse_moe.experts.{e}.w3.weight", [columns, hidden], gateUp[(((2 * e) + 1) * columns * hidden)..(((2 * e) + 2) * columns * hidden)]),
                ($"{prefix}block_sparse_moe.experts.{e}.w2.weight", [hidden, columns], down[(e * columns * hidden)..((e + 1) * columns * hidden)]),
            ]), "block_sparse_moe"), config);
        float[] apart = Logits();
        TinyLlama.Write(_folder, tensors => ToExperts(tensors, experts, (prefix, gateUp, down) =>
        [
            ($"{prefix}mlp.experts.gate_up_proj", [experts, 2 * columns, hidden], gateUp),
            ($"{prefix}mlp.experts.down_proj", [experts, hidden, columns], down),
        ], "mlp"), config);
        Assert.That(Logits(), Is.EqualTo(apart));
    }

    private static void ToExperts(
        List<(string Name, int[] Shape, float[] Values)> tensors, int experts, Func<string, float[], float[], IEnumerable<(string, int[], float[])>> store, string router)
    {
        tensors.RemoveAll(tensor => tensor.Name.Contains(".mlp.", StringComparison.Ordinal));
        Random random = new(3);
        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];
        for (int layer = 0; layer < TinyLlama.Layers; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            tensors.Add(($"{prefix}{router}.gate.weight", [experts, TinyLlama.Hidden], Values(experts * TinyLlama.Hidden)));
            tensors.AddRange(store(prefix, Values(2 * experts * TinyLlama.Intermediate * TinyLlama.Hidden), Values(experts * TinyLlama.Intermediate * TinyLlama.Hidden)));
        }
    }

    [Test]
    public void Load_OtherWeightType_ConvertsMatrices()
    {
        TinyLlama.Write(_folder);
        using ReferenceBackend backend = new();
        CausalLM model = ModelLoader.Load(_folder, backend, new ModelLoadOptions { WeightType = DType.BF16 }).Model;
        Assert.That(model.Shape.WeightType, Is.EqualTo(DType.BF16));
    }

    [Test]
    public void Load_Progress_RisesToTheEnd()
    {
        TinyLlama.Write(_folder);
        Recorder progress = new();
        using ReferenceBackend backend = new();
        ModelLoader.Load(_folder, backend, new ModelLoadOptions { Progress = progress });
        Assert.Multiple(() =>
        {
            Assert.That(progress.Reports.Select(report => report.BytesLoaded), Is.Ordered.Ascending);
            Assert.That(progress.Reports[^1].BytesLoaded, Is.EqualTo(progress.Reports[^1].TotalBytes));
            Assert.That(progress.Reports.Select(report => report.Tensor), Does.Contain("model.layers.1.mlp.down_proj.weight"));
        });
    }

    [Test]
    public void Load_Cancelled_Stops()
    {
        TinyLlama.Write(_folder);
        using CancellationTokenSource cancellation = new();
        Recorder progress = new() { After = cancellation.Cancel };
        using ReferenceBackend backend = new();
        Assert.That(() => ModelLoader.Load(_folder, backend, new ModelLoadOptions { Progress = progress }, cancellation.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(progress.Reports, Has.Count.EqualTo(1));
    }

    [Test]
    public void Load_MissingTensor_NamesIt()
    {
        TinyLlama.Write(_folder, tensors => tensors.RemoveAll(tensor => tensor.Name == "model.layers.1.mlp.up_proj.weight"));
        AssertExplained("model.layers.1.mlp.up_proj.weight", "missing");
    }

    [Test]
    public void Load_WrongShape_NamesBothShapes()
    {
        TinyLlama.Write(_folder, tensors => tensors[1] = tensors[1] with { Shape = [4, 16] });
        AssertExplained("model.layers.0.self_attn.q_proj.weight", "[4, 16]", "[8, 8]", "model.safetensors");
    }

    [TestCase("\"head_dim\": 100000000")]
    [TestCase("\"head_dim\": 100000, \"max_position_embeddings\": 10000000")]
    public void Load_HeadsThatNoWeightHas_AreFoundBeforeTablesAreMadeForThem(string fields)
    {
        TinyLlama.Write(_folder, config: TinyLlama.Config.Replace("\"max_position_embeddings\": 64", fields, StringComparison.Ordinal));
        AssertExplained("q_proj", "config.json");
    }

    [Test]
    public void Load_TypeThatIsNotComputedWith_NamesIt()
    {
        TinyLlama.Write(_folder);
        string path = Path.Combine(_folder, "model.safetensors");
        byte[] bytes = File.ReadAllBytes(path);
        int at = bytes.AsSpan().IndexOf("F32"u8);
        "I32"u8.CopyTo(bytes.AsSpan(at));
        File.WriteAllBytes(path, bytes);
        UnsupportedModelException exception = Assert.Throws<UnsupportedModelException>(() => Logits())!;
        Assert.That(exception.Message, Does.Contain("model.embed_tokens.weight").And.Contain("I32").And.Contain("BF16"));
    }

    [TestCase("model.layers.1.self_attn.q_proj.bias", TinyLlama.Hidden)]
    [TestCase("model.layers.0.self_attn.q_norm.weight", 4)]
    [TestCase("model.layers.0.mlp.gate_proj.weight_scale", 1)]
    public void Load_TensorThatALayerDoesNotUse_IsRefused(string name, int length)
    {
        TinyLlama.Write(_folder, tensors => tensors.Add((name, [length], new float[length])));
        UnsupportedModelException exception = Assert.Throws<UnsupportedModelException>(() => Logits())!;
        Assert.That(exception.Field, Does.Contain(name));
    }

    [Test]
    public void Load_MoreLayersThanConfigured_IsRefused()
    {
        TinyLlama.Write(_folder, tensors => tensors.Add(("model.layers.2.self_attn.q_proj.weight", [1], new float[1])));
        using ReferenceBackend backend = new();
        Assert.That(() => ModelLoader.Load(_folder, backend), Throws.TypeOf<UnsupportedModelException>().With.Message.Contains("layers.2").And.Message.Contains("2 layers"));
    }

    [Test]
    public void Load_OtherUnusedTensors_AreReportedUnlessHarmless()
    {
        TinyLlama.Write(_folder, tensors =>
        {
            tensors.Add(("model.layers.0.self_attn.rotary_emb.inv_freq", [2], new float[2]));
            tensors.Add(("model.layers.0.self_attn.masked_bias", [1], new float[1]));
            tensors.Add(("model.layers.1.attention.bias", [2, 2], new float[4]));
            tensors.Add(("value_head.weight", [1], new float[1]));
        });
        Journal journal = new();
        using ReferenceBackend backend = new();
        ModelLoader.Load(_folder, backend, new ModelLoadOptions { Logger = journal });
        Assert.That(journal.Lines.Single(), Does.Contain("value_head.weight").And.Not.Contain("inv_freq"));
    }

    [Test]
    public void Load_PickledWeightsOnly_SaysWhatToDo()
    {
        File.WriteAllText(Path.Combine(_folder, "config.json"), TinyLlama.Config);
        File.WriteAllText(Path.Combine(_folder, "pytorch_model.bin"), "");
        AssertExplained("pytorch_model.bin", "convert");
    }

    [Test]
    public void Load_NoWeights_SaysWhatIsMissing()
    {
        File.WriteAllText(Path.Combine(_folder, "config.json"), TinyLlama.Config);
        AssertExplained("model.safetensors", "no weights");
    }

    [Test]
    public void Load_NoFolder_SaysSo() => Assert.That(() => Logits(Path.Combine(_folder, "absent")), Throws.InstanceOf<ModelLoadException>().With.Message.Contains("absent").And.Message.Contains("fetched first"));

    [TestCase("config.json")]
    [TestCase("generation_config.json")]
    [TestCase("model.safetensors")]
    [TestCase("tokenizer.json")]
    [TestCase("tokenizer_config.json")]
    [Platform(Exclude = "Win", Reason = "Links may need rights there.")]
    public void Load_LinkWithoutItsTarget_NamesBoth(string file)
    {
        foreach (string source in Directory.EnumerateFiles(DefaultModel.Folder)) File.Copy(source, Path.Combine(_folder, Path.GetFileName(source)));
        string path = Path.Combine(_folder, file);
        File.Delete(path);
        File.CreateSymbolicLink(path, "../../blobs/0a1b");
        Assert.That(() => Pipeline.Load(_folder, new PipelineOptions { Device = ComputeDevice.Cpu }), Throws.InstanceOf<ModelLoadException>().With.Message.Contains(path).And.Message.Contains("'../../blobs/0a1b'").And.Message.Contains("copy"));
    }

    [Test]
    public void Load_FileInPlaceOfTheFolder_SaysSo()
    {
        TinyLlama.Write(_folder);
        Assert.That(() => Logits(Path.Combine(_folder, "config.json")), Throws.InstanceOf<ModelLoadException>().With.Message.Contains("is a file"));
    }

    [TestCase("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n")]
    [TestCase("<!DOCTYPE html><html><body>Not found</body></html>")]
    public void Load_SomethingElseInPlaceOfTheWeights_SaysWhatItMayBe(string content)
    {
        TinyLlama.Write(_folder);
        File.WriteAllText(Path.Combine(_folder, "model.safetensors"), content);
        AssertExplained("model.safetensors", "Git LFS pointer", "web page");
    }

    [Test]
    public void Load_QuantizersFileBesideTheConfig_IsRefused()
    {
        TinyLlama.Write(_folder);
        File.WriteAllText(Path.Combine(_folder, "hf_quant_config.json"), "{}");
        Assert.That(() => Logits(), Throws.InstanceOf<UnsupportedModelException>().With.Message.Contains("hf_quant_config.json"));
    }

    [Test]
    public void Load_MissingShard_NamesIt()
    {
        TinyLlama.WriteShards(_folder);
        File.Delete(Path.Combine(_folder, "second.safetensors"));
        AssertExplained("second.safetensors", "index.json");
    }

    [Test]
    public void Load_TensorAbsentFromItsShard_NamesBoth()
    {
        TinyLlama.WriteShards(_folder);
        SafetensorsWriter.Write(Path.Combine(_folder, "second.safetensors"), TinyLlama.Tensors()[^1]);
        AssertExplained("model.layers.1.", "second.safetensors");
    }

    [Test]
    public void Load_TensorInTwoShards_NamesBoth()
    {
        TinyLlama.WriteShards(_folder);
        List<(string Name, int[] Shape, float[] Values)> tensors = TinyLlama.Tensors();
        SafetensorsWriter.Write(Path.Combine(_folder, "second.safetensors"), [tensors[0], .. tensors[(tensors.Count / 2)..]]);
        AssertExplained("model.embed_tokens.weight", "first.safetensors", "second.safetensors");
    }

    [TestCase("""{"weight_map": {"a": "../other/model.safetensors"}}""", "other")]
    [TestCase("""{"weight_map": {"a": "C:\\model.safetensors"}}""", "folder")]
    [TestCase("""{"weight_map": {"a": "D:model.safetensors"}}""", "folder")]
    [TestCase("""{"weight_map": {"a": "."}}""", "folder")]
    [TestCase("""{"weight_map": {"a": "\ud800"}}""", "folder")]
    [TestCase("""{"weight_map": {"\ud800": "a"}}""", "surrogate")]
    [TestCase("""{"weight_map": {"a": 5}}""", "5")]
    [TestCase("""{"weight_map": {}}""", "empty")]
    [TestCase("""{"weight_map": []}""", "weight_map")]
    [TestCase("""[]""", "object")]
    public void Load_BrokenIndex_Explains(string index, string says)
    {
        File.WriteAllText(Path.Combine(_folder, "config.json"), TinyLlama.Config);
        File.WriteAllText(Path.Combine(_folder, "model.safetensors.index.json"), index);
        AssertExplained("model.safetensors.index.json", says);
    }

    [TestCaseSource(nameof(RefusedFolders))]
    public void Load_FolderMarkedToRefuse_IsRefusedByName(string? path)
    {
        string folder = ConformanceKit.Folder("models", path ?? "");
        UnsupportedModelException exception = Assert.Throws<UnsupportedModelException>(() => Logits(folder))!;
        Assert.That(exception.Message, Does.Contain(exception.Field).And.Contain("supported"));
    }

    public static IEnumerable<TestCaseData> RefusedFolders()
    {
        string? root = ConformanceKit.Root is null ? null : Path.Combine(ConformanceKit.Root, "models");
        if (root is null || !Directory.Exists(root)) return [new TestCaseData((string?)null)];
        return Directory.EnumerateFiles(root, "config.json", SearchOption.AllDirectories)
            .Select(file => Path.GetRelativePath(root, Path.GetDirectoryName(file)!).Replace('\\', '/'))
            .Where(folder => folder.Contains("_refuse", StringComparison.Ordinal)).Order(StringComparer.Ordinal)
            .Select(folder => new TestCaseData(folder).SetArgDisplayNames(folder));
    }

    [Test, Explicit("Writes a checkpoint of 1 GB.")]
    [Platform("Linux")]
    public void Load_LargeModel_NeedsLittleMemoryBesideIt()
    {
        const int hidden = 2048, rows = 65536, matrices = 4;
        string header = string.Join(",", Enumerable.Range(0, matrices).Select(i => $"\"m{i}.weight\":{{\"dtype\":\"BF16\",\"shape\":[{rows},{hidden}],\"data_offsets\":[{(long)i * rows * hidden * 2},{(i + 1L) * rows * hidden * 2}]}}"));
        string path = Path.Combine(_folder, "model.safetensors");
        SafetensorsWriter.WriteRaw(path, $"{{{header}}}", []);
        using (FileStream file = File.Open(path, FileMode.Append))
        {
            byte[] block = new byte[1 << 20];
            Random.Shared.NextBytes(block);
            for (int i = 0; i < matrices * rows * (hidden / 512); i += 1024) file.Write(block.AsSpan(0, block.Length));
        }
        using ReferenceBackend backend = new();
        using SafetensorsCheckpoint checkpoint = SafetensorsCheckpoint.Open(_folder);
        long before = PeakBytes();
        Stopwatch watch = Stopwatch.StartNew();
        using WeightLoader loader = new(checkpoint, backend, checkpoint.MainType);
        WeightReader reader = new(loader);
        for (int i = 0; i < matrices; i++) reader.Matrix($"m{i}", rows, hidden);
        loader.Complete();
        long added = PeakBytes() - before;
        TestContext.Out.WriteLine($"{checkpoint.TotalBytes >> 20} MiB in {watch.Elapsed.TotalSeconds:F2} s, peak + {added >> 20} MiB");
        Assert.That(added, Is.LessThan(checkpoint.TotalBytes + (100 << 20)));
    }

    private static long PeakBytes() =>
        long.Parse(File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmHWM", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) << 10;

    private void AssertExplained(params string[] parts)
    {
        ModelLoadException exception = Assert.Throws(Is.InstanceOf<ModelLoadException>(), () => Logits()) as ModelLoadException ?? throw new InvalidOperationException();
        Assert.Multiple(() =>
        {
            foreach (string part in parts.Append(_folder)) Assert.That(exception.Message, Does.Contain(part));
        });
    }

    private float[] Logits(string? folder = null)
    {
        using ReferenceBackend backend = new();
        ModelHarness harness = new(ModelLoader.Load(folder ?? _folder, backend).Model, tokens: 16, sequences: 2);
        return harness.Prompt([1, 5, 9], logitRows: 1)[0];
    }

    private sealed class Recorder : IProgress<LoadProgress>
    {
        public List<LoadProgress> Reports { get; } = [];

        public Action? After { get; init; }

        public void Report(LoadProgress value)
        {
            Reports.Add(value);
            After?.Invoke();
        }
    }
}
