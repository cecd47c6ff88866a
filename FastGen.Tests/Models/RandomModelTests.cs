using FastGen.Compute;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Forms that the kit has no goldens for, with random weights: they run, and splitting a prompt changes no bit.</summary>
public sealed class RandomModelTests
{
    private const string Sizes = "\"vocab_size\": 48, \"hidden_size\": 24, \"intermediate_size\": 20, \"num_hidden_layers\": 3, \"num_attention_heads\": 6";

    public static IEnumerable<TestCaseData> Forms()
    {
        (string Name, string Json)[] forms =
        [
            ("Llama with dynamic rotary scaling", "\"model_type\": \"llama\", \"max_position_embeddings\": 40, \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}"),
            ("Llama with YaRN", "\"model_type\": \"llama\", \"max_position_embeddings\": 64, \"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 16}"),
            ("Phi-3 with longrope", "\"model_type\": \"phi3\", \"max_position_embeddings\": 64, \"original_max_position_embeddings\": 16, \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1], \"long_factor\": [2, 3]}"),
            ("Llama with longrope", "\"model_type\": \"llama\", \"max_position_embeddings\": 64, \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1], \"long_factor\": [2, 3], \"original_max_position_embeddings\": 16}"),
            ("Phi-4-mini, partly rotated", "\"model_type\": \"phi3\", \"head_dim\": 8, \"partial_rotary_factor\": 0.75, \"max_position_embeddings\": 64, \"tie_word_embeddings\": true"),
            ("Qwen, beyond its trained context", "\"model_type\": \"qwen\", \"kv_channels\": 4, \"max_position_embeddings\": 64, \"seq_length\": 16, \"use_dynamic_ntk\": true, \"use_logn_attn\": true"),
            ("Qwen2 with windows on the last layer", "\"model_type\": \"qwen2\", \"num_key_value_heads\": 3, \"max_position_embeddings\": 64, \"use_sliding_window\": true, \"sliding_window\": 8, \"max_window_layers\": 2"),
            ("Qwen2 MoE with a narrower dense layer", "\"model_type\": \"qwen2_moe\", \"num_key_value_heads\": 2, \"max_position_embeddings\": 64, \"num_experts\": 5, \"num_experts_per_tok\": 3, \"moe_intermediate_size\": 12, \"shared_expert_intermediate_size\": 28, \"mlp_only_layers\": [1]"),
            ("Qwen2 MoE, sparse and shared", "\"model_type\": \"qwen2_moe\", \"num_key_value_heads\": 2, \"max_position_embeddings\": 64, \"num_experts\": 5, \"num_experts_per_tok\": 3, \"moe_intermediate_size\": 12, \"shared_expert_intermediate_size\": 28"),
            ("Qwen3 MoE, sparse every other layer", "\"model_type\": \"qwen3_moe\", \"head_dim\": 8, \"num_key_value_heads\": 2, \"max_position_embeddings\": 64, \"num_experts\": 5, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 12, \"decoder_sparse_step\": 2"),
            ("Falcon with ALiBi on six heads", "\"model_type\": \"falcon\", \"alibi\": true, \"multi_query\": false, \"parallel_attn\": false, \"bias\": true, \"max_position_embeddings\": 64"),
            ("Falcon, first release of the 40B", "\"model_type\": \"RefinedWeb\", \"n_head_kv\": 2, \"max_position_embeddings\": 64"),
            ("Galactica", "\"model_type\": \"opt\", \"ffn_dim\": 20, \"activation_function\": \"gelu\", \"enable_bias\": false, \"layer_norm_elementwise_affine\": false, \"max_position_embeddings\": 64"),
            ("OPT without biases", "\"model_type\": \"opt\", \"ffn_dim\": 20, \"enable_bias\": false, \"max_position_embeddings\": 64"),
        ];
        return from form in forms from backend in TestBackends.All select new TestCaseData($"{{{Sizes}, {form.Json}}}", backend).SetArgDisplayNames(form.Name, backend.Name);
    }

    [TestCaseSource(nameof(Forms))]
    public void Forward_PromptInChunks_GivesTheSameBits(string json, TestBackend backend)
    {
        using ModelHarness harness = Build(json, backend);
        int[] prompt = [.. Enumerable.Range(0, 37).Select(i => (i * 11) % 48)];
        float[] whole = harness.Prompt(prompt, 1)[0];
        Assert.Multiple(() =>
        {
            Assert.That(whole.All(float.IsFinite), Is.True);
            Assert.That(whole.Distinct().Count(), Is.GreaterThan(40));
            Assert.That(harness.Prompt(prompt, 1, 5, 17, 15)[0], Is.EqualTo(whole));
            Assert.That(harness.Prompt(prompt, 1, 36, 1)[0], Is.EqualTo(whole));
        });
    }

    [Test]
    public void RotaryBase_LongPrompt_ChangesTheLogits()
    {
        string json = (string)Forms().First(form => ((string)form.Arguments[0]!).Contains("phi3", StringComparison.Ordinal)).Arguments[0]!;
        using ModelHarness harness = Build(json, TestBackends.All[0]);
        int[] tokens = [.. Enumerable.Range(0, 20)];
        float[] asLongPrompt = harness.Prompt(tokens, 1)[0];
        // Grown from a short prompt without the engine, which would start it over, the sequence keeps the short table.
        ModelHarness.Sequence grown = harness.Start(promptLength: 10);
        float[] asShortPrompt = harness.Step(new ModelHarness.Work(grown, tokens, 1))[0];
        Assert.Multiple(() =>
        {
            Assert.That(harness.Model.RotaryBase(16), Is.Zero);
            Assert.That(harness.Model.RotaryBase(17), Is.EqualTo(64));
            Assert.That(asLongPrompt, Is.Not.EqualTo(asShortPrompt));
        });
    }

    [TestCase(10)]
    [TestCase(16)]
    [TestCase(17)]
    public async Task Submit_PastTheOriginalContext_GoesOnAsIfComputedAnew(int promptLength)
    {
        string json = (string)Forms().First(form => ((string)form.Arguments[0]!).Contains("phi3", StringComparison.Ordinal)).Arguments[0]!;
        int[][] prompts = [.. Enumerable.Range(0, 3).Select(p => Enumerable.Range(0, promptLength).Select(i => ((i * 11) + (p * 7)) % 48).ToArray())];
        List<int[]> expected = [];
        using (ModelHarness harness = Build(json, TestBackends.All[^1]))
        {
            // Every token from the whole text before it, as one prompt.
            foreach (int[] prompt in prompts)
            {
                List<int> tokens = [.. prompt];
                while (tokens.Count < promptLength + 20) tokens.Add(ModelHarness.Best(harness.Prompt([.. tokens], 1)[0]));
                expected.Add([.. tokens[promptLength..]]);
                Assert.That(harness.Greedy(prompt, 20), Is.EqualTo(expected[^1]));
            }
        }
        // A cache for less than two of the three, so that some restart for want of blocks too.
        using RandomCheckpoint checkpoint = new(DType.F32, seed: 5, spread: 0.4f);
        using IBackend backend = TestBackends.All[^1].Create();
        using LlmEngine engine = new(ModelLoader.Load(ModelConfig.Parse(json), checkpoint, backend, new ModelLoadOptions()), [], new EngineOptions { TokenBudget = 8, CacheTokens = 64, BlockSize = 4 });
        GenerationRequest[] requests = [.. prompts.Select(prompt => engine.Submit(prompt, SamplingParameters.Greedy with { MaxNewTokens = 20 }))];
        for (int i = 0; i < requests.Length; i++) Assert.That(await LlmEngineTests.Tokens(requests[i]), Is.EqualTo(expected[i]));
    }

    [Test]
    public void Load_SameSeed_GivesTheSameModel()
    {
        string json = (string)Forms().First().Arguments[0]!;
        using ModelHarness first = Build(json, TestBackends.All[0]), second = Build(json, TestBackends.All[0]);
        Assert.That(first.Prompt([1, 2, 3], 1), Is.EqualTo(second.Prompt([1, 2, 3], 1)));
    }

    private static ModelHarness Build(string json, TestBackend backend)
    {
        using RandomCheckpoint checkpoint = new(DType.F32, seed: 5, spread: 0.4f);
        return new ModelHarness(ModelLoader.Load(ModelConfig.Parse(json), checkpoint, backend.Create(), new ModelLoadOptions()), tokens: 64, sequences: 4, contextBlocks: 4);
    }
}
