using FastGen.Compute;
using FastGen.Kernels.Reference;
using FastGen.Models;

namespace FastGen.Tests;

public sealed class RouterTiesTests
{
    private const int Experts = 3;
    private const float Nearly = 1e-4f;

    private static readonly GoldenCase Case = new([3, 7, 11], [], [[], [], []]);

    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fastgen").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void OtherLogits_NearTie_AreThoseOfTheOtherExpert()
    {
        // One expert of the three that a token visits two of is always first; the others differ by a hair.
        float[] other = Logits(second: 1, third: 1 + Nearly), logits = Logits(second: 1 + Nearly, third: 1);
        float[][] turned = [.. Ties(DType.F16)];
        Assert.Multiple(() =>
        {
            Assert.That(turned, Has.Length.EqualTo(Case.Prompt.Length));
            Assert.That(turned[^1][^TinyLlama.Vocabulary..], Is.EqualTo(other[^TinyLlama.Vocabulary..]).Within(1e-3f), "The last row's tie changes the last row.");
            Assert.That(turned[^1][..^TinyLlama.Vocabulary], Is.EqualTo(logits[..^TinyLlama.Vocabulary]).Within(1e-5f), "It leaves those before as they are.");
            Assert.That(logits[^TinyLlama.Vocabulary..], Is.Not.EqualTo(other[^TinyLlama.Vocabulary..]).Within(1e-2f), "The two experts differ.");
        });
    }

    [Test]
    public void OtherLogits_ClearChoice_AreNone()
    {
        Logits(second: 2, third: 1);
        Assert.That(Ties(DType.BF16), Is.Empty);
    }

    private IEnumerable<float[]> Ties(DType type) => RouterTies.OtherLogits(ModelConfig.Read(Path.Combine(_folder, "config.json")), _folder, type, Case);

    // Writes a model of one layer whose routers see a constant as the first column, and gives its logits.
    private float[] Logits(float second, float third)
    {
        string config = TinyLlama.Config.Replace("LlamaForCausalLM", "MixtralForCausalLM", StringComparison.Ordinal).Replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", StringComparison.Ordinal)[..^1]
            + $", \"num_local_experts\": {Experts}, \"num_experts_per_tok\": 2}}";
        TinyLlama.Write(_folder, tensors =>
        {
            tensors.RemoveAll(tensor => tensor.Name.Contains(".layers.1.", StringComparison.Ordinal) || tensor.Name.Contains(".mlp.", StringComparison.Ordinal) || tensor.Name.Contains("o_proj", StringComparison.Ordinal));
            float[] embeddings = tensors.Single(tensor => tensor.Name == "model.embed_tokens.weight").Values;
            for (int row = 0; row < TinyLlama.Vocabulary; row++) embeddings[row * TinyLlama.Hidden] = 1;
            Array.Fill(tensors.Single(tensor => tensor.Name.EndsWith("post_attention_layernorm.weight", StringComparison.Ordinal)).Values, 1);
            tensors.Add(("model.layers.0.self_attn.o_proj.weight", [TinyLlama.Hidden, TinyLlama.Hidden], new float[TinyLlama.Hidden * TinyLlama.Hidden]));
            float[] router = new float[Experts * TinyLlama.Hidden];
            (router[0], router[TinyLlama.Hidden], router[2 * TinyLlama.Hidden]) = (3, second, third);
            tensors.Add(("model.layers.0.block_sparse_moe.gate.weight", [Experts, TinyLlama.Hidden], router));
            Random random = new(3);
            for (int expert = 0; expert < Experts; expert++)
            {
                foreach ((string name, int rows, int columns) in ((string, int, int)[])[("w1", TinyLlama.Intermediate, TinyLlama.Hidden), ("w3", TinyLlama.Intermediate, TinyLlama.Hidden), ("w2", TinyLlama.Hidden, TinyLlama.Intermediate)])
                {
                    tensors.Add(($"model.layers.0.block_sparse_moe.experts.{expert}.{name}.weight", [rows, columns], [.. Enumerable.Range(0, rows * columns).Select(_ => 4 * (random.NextSingle() - 0.5f))]));
                }
            }
        }, config);
        using ModelHarness harness = new(ModelLoader.Load(_folder, new ReferenceBackend()).Model);
        return [.. harness.Prompt(Case.Prompt, Case.Prompt.Length).SelectMany(row => row)];
    }
}
