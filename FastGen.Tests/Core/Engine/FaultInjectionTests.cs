using FastGen.Compute;
using FastGen.Kernels.Cpu;
using FastGen.Models;

namespace FastGen.Tests;

/// <summary>Faults in each call of the waist, on the processor's backend with random small models that use all of them.</summary>
public sealed class FaultInjectionTests
{
    private const string Dense =
        """{"architectures": ["OPTForCausalLM"], "vocab_size": 96, "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128, "word_embed_proj_dim": 32, "do_layer_norm_before": false}""";

    private const string Sparse =
        """{"architectures": ["Qwen2MoeForCausalLM"], "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 24}""";

    [Test]
    public async Task Step_FaultInAnyCall_FailsItsRequestsAndTheEngineGoesOn([Values(Dense, Sparse)] string config)
    {
        ObservedBackend backend = new(CpuBackend.Create(threads: 2));
        ModelLoadOptions options = new();
        CausalLM model = ModelLoader.Load(ModelConfig.Parse(config), new RandomCheckpoint(DType.F32, 1), backend, options);
        SortedSet<string> calls = [];
        backend.Calling = call => calls.Add(call);
        using (LlmEngine engine = new(model, [], new EngineOptions { TokenBudget = 16, CacheTokens = 256, MaxSequences = 4 }))
        {
            SamplingParameters greedy = SamplingParameters.Greedy with { MaxNewTokens = 8 };
            List<int> expected = await LlmEngineTests.Tokens(engine.Submit([5, 6, 7], greedy));
            Assert.That(calls, Has.Count.GreaterThan(8));
            foreach (string faulty in (string[])[.. calls])
            {
                for (int nth = 1; nth <= 5; nth += 2)
                {
                    int seen = 0;
                    backend.Calling = call =>
                    {
                        if (call == faulty && ++seen == nth) throw new InvalidOperationException($"fault in {faulty}");
                    };
                    GenerationRequest[] hit = [engine.Submit([5, 6, 7], greedy), engine.Submit([8, 9], greedy)];
                    int failed = 0;
                    foreach (GenerationRequest request in hit)
                    {
                        try
                        {
                            await LlmEngineTests.Tokens(request);
                        }
                        catch (GenerationException exception)
                        {
                            Assert.That(exception.Message, Does.Contain($"fault in {faulty}"));
                            failed++;
                        }
                    }
                    Assert.That(failed, Is.GreaterThan(0), $"{faulty}, call {nth}");
                    Assert.That(await LlmEngineTests.Tokens(engine.Submit([5, 6, 7], greedy)), Is.EqualTo(expected), $"after a fault in {faulty}");
                    LlmEngineTests.AssertIdle(engine);
                }
            }
        }
        backend.Dispose();
    }
}
