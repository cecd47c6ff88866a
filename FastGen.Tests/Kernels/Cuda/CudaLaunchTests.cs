using FastGen.Compute;
using FastGen.Kernels.Cuda;
using FastGen.Kernels.Cuda.Compilation;
using FastGen.Kernels.Cuda.Products;

namespace FastGen.Tests;

/// <summary>Every launch that steps could ask for fits its device: checked without one, for published shapes and for odd ones.</summary>
public sealed class CudaLaunchTests
{
    private static readonly (string Name, string Config)[] Models =
    [
        ("Llama-3-8B", Llama(4096, 14336, 32, 8, 128256)), ("Llama-3-70B", Llama(8192, 28672, 64, 8, 128256)), ("Qwen2.5-7B", Llama(3584, 18944, 28, 4, 152064)),
        ("heads of 256", Llama(3072, 24576, 16, 16, 256000, headDim: 256)), ("heads of 192 in groups of 12", Llama(4608, 12288, 24, 2, 49152, headDim: 192)), ("groups of 16", Llama(2048, 5632, 32, 2, 32000, headDim: 128)),
        ("one key/value head for 64", Llama(8192, 28672, 64, 1, 65024, headDim: 128)), ("odd sizes", Llama(520, 1368, 13, 1, 50257, headDim: 40)), ("tiny", Llama(64, 136, 4, 2, 517, headDim: 16)),
        ("Mixtral-8x7B", """
            {"architectures": ["MixtralForCausalLM"], "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 1,
             "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768, "num_local_experts": 8, "num_experts_per_tok": 2}
            """),
        ("Mixtral-8x22B", """
            {"architectures": ["MixtralForCausalLM"], "vocab_size": 32768, "hidden_size": 6144, "intermediate_size": 16384, "num_hidden_layers": 1,
             "num_attention_heads": 48, "num_key_value_heads": 8, "max_position_embeddings": 65536, "num_local_experts": 8, "num_experts_per_tok": 2}
            """),
        ("Qwen3-235B-A22B", """
            {"architectures": ["Qwen3MoeForCausalLM"], "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "moe_intermediate_size": 1536, "num_hidden_layers": 1,
             "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 128, "max_position_embeddings": 40960, "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": true}
            """),
        ("Phi-2", """
            {"architectures": ["PhiForCausalLM"], "vocab_size": 51200, "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 1, "num_attention_heads": 32,
             "num_key_value_heads": 32, "max_position_embeddings": 2048, "partial_rotary_factor": 0.4, "hidden_act": "gelu_new"}
            """),
        ("Falcon-7B", """
            {"architectures": ["FalconForCausalLM"], "vocab_size": 65024, "hidden_size": 4544, "num_hidden_layers": 1, "num_attention_heads": 71, "multi_query": true,
             "parallel_attn": true, "new_decoder_architecture": false, "bias": false, "alibi": false}
            """),
        ("OPT-6.7B", """
            {"architectures": ["OPTForCausalLM"], "vocab_size": 50272, "hidden_size": 4096, "ffn_dim": 16384, "num_hidden_layers": 1, "num_attention_heads": 32,
             "max_position_embeddings": 2048, "word_embed_proj_dim": 4096, "activation_function": "relu", "do_layer_norm_before": true}
            """),
    ];

    private static IEnumerable<TestCaseData> Steps() => from device in (string[])["H200", "H200 slice", "A100", "RTX 3090", "RTX 3060"] from model in Models select new TestCaseData(device, model.Name);

    private static IEnumerable<string> Devices() => ImaginedDevice.Kinds.Select(kind => kind.Name);

    [TestCaseSource(nameof(Steps))]
    public void Steps_PublishedShapes_Fit(string device, string model)
    {
        string config = Config(model);
        List<CudaOptions> choices = [new(), new() { Deterministic = true }];
        if (ImaginedDevice.Of(device).Capability == new Version(9, 0)) choices.Add(new() { UseHopperInstructions = false });
        // F16 is cut as BF16 is.
        foreach (DType type in (DType[])[DType.BF16, DType.F32])
        {
            foreach (CudaOptions options in choices)
            {
                ImaginedDevice imagined = ImaginedDevice.Of(device);
                using CudaBackend backend = imagined.Backend(options);

                IReadOnlyList<KernelLaunch> launches = ImaginedModel.Launches(backend, config, type);

                Assert.That(launches.Select(launch => launch.Kernel), Does.Contain("sample"));
                foreach (KernelLaunch launch in launches) AssertFits(launch, imagined);
            }
        }
    }

    [TestCaseSource(nameof(Devices))]
    public void Products_OddShapes_Fit(string device)
    {
        int[] inners = [8, 24, 64, 120, 128, 136, 256, 264, 520, 1000, 1032, 2048, 2056, 2184, 4096, 4104, 5000, 8192, 11008, 14336, 16384, 18944, 28672, 29568, 32768, 40000, 65536];
        int[] outers = [1, 7, 8, 16, 24, 40, 129, 496, 1000, 1008, 2576, 4096, 6144, 8448, 12672, 16896, 21120, 28672, 30000, 33792, 40000, 65536, 128256, 151936, 256000, 262144];
        int[] rowCounts = [1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 127, 128, 129, 2048];
        foreach (CudaOptions options in (CudaOptions[])[new(), new() { Deterministic = true }])
        {
            ImaginedDevice imagined = ImaginedDevice.Of(device);
            using LinearProducts products = new(imagined, imagined.Kernels(), new CudaScratch(imagined), new ProductChoices(new KernelCache(Path.GetTempPath()), device), options);
            foreach (KernelLaunch launch in imagined.Rehearse(() => Walk(products))) AssertFits(launch, imagined);
        }

        void Walk(LinearProducts products)
        {
            foreach (DType type in Enum.GetValues<DType>())
            {
                NormWeights norm = new(NormKind.Rms, new Tensor(256, DType.F32, 1, 1), null, 1e-5f);
                foreach ((int inner, int outer, int rows) in from inner in inners from outer in outers from rows in rowCounts select (inner, outer, rows))
                {
                    Tensor input = new(256, DType.F32, rows, inner), output = new(256, DType.F32, rows, outer);
                    products.Linear(output, new LinearInput(input, norm), new LinearWeights(new Tensor(256, type, outer, inner)), Activation.None, accumulate: true);
                    products.Gated(new Tensor(256, type, rows, outer), new LinearInput(input, norm), new LinearWeights(new Tensor(256, type, 2 * outer, inner)), Activation.Silu);
                }
            }
        }
    }

    [TestCaseSource(nameof(Devices))]
    public void Experts_EveryKernel_Fits(string device)
    {
        (int Model, int Hidden, int Experts, int Top)[] shapes = [(2048, 768, 128, 8), (4096, 14336, 8, 2), (6144, 16384, 8, 2), (7168, 2048, 256, 8), (2048, 1408, 60, 4), (5120, 8192, 16, 1), (1024, 512, 512, 10), (24, 40, 3, 2), (8192, 32768, 4, 2)];
        ImaginedDevice imagined = ImaginedDevice.Of(device);
        CudaScratch scratch = new(imagined);
        KernelLibrary kernels = imagined.Kernels();
        using LinearProducts products = new(imagined, kernels, scratch, new ProductChoices(new KernelCache(Path.GetTempPath()), device), new CudaOptions());
        foreach (ExpertKernel? only in (ExpertKernel?[])[null, .. Enum.GetValues<ExpertKernel>().Cast<ExpertKernel?>()])
        {
            ExpertProducts experts = new(imagined, kernels, scratch, products, only);
            foreach (KernelLaunch launch in imagined.Rehearse(() => Walk(experts))) AssertFits(launch, imagined);
        }

        void Walk(ExpertProducts experts)
        {
            foreach ((int model, int hidden, int count, int top) in shapes)
            {
                foreach (DType type in Enum.GetValues<DType>())
                {
                    ExpertWeights weights = new()
                    {
                        Router = new LinearWeights(new Tensor(256, type, count, model)),
                        GateUp = new Tensor(256, type, count * 2 * hidden, model),
                        Down = new Tensor(256, type, count * model, hidden),
                        Experts = count,
                        TopK = top,
                        Activation = Activation.Silu,
                        NormalizeTopK = true,
                    };
                    foreach (int rows in (int[])[1, 2, 3, 8, 33, 128, 500, 1055, 1056, 4096, 8192, 16384])
                    {
                        Tensor stream = new(256, DType.F32, rows, model);
                        experts.Run(stream, new LinearInput(stream, new NormWeights(NormKind.Rms, new Tensor(256, DType.F32, 1, model), null, 1e-5f)), weights, rowCount: 0);
                    }
                }
            }
        }
    }

    internal static string Config(string model) => Models.Single(known => known.Name == model).Config;

    private static void AssertFits(KernelLaunch launch, ImaginedDevice device)
    {
        (int x, int y, int z) = launch.Grid;
        bool fits = x >= 1 && y is >= 1 and <= 65535 && z is >= 1 and <= 65535
            && launch.Threads is >= 32 and <= 1024 && launch.Threads % 32 == 0
            && launch.SharedBytes >= 0 && launch.SharedBytes + OwnSharedBytes(launch) <= device.SharedBytesPerBlock
            && launch.Cluster is >= 1 and <= 8 && (launch.Cluster == 1 || device.Capability == new Version(9, 0)) && (launch.ClusterAlongY ? y : x) % launch.Cluster == 0
            && BoxRows(launch) <= 256;
        if (!fits) Assert.Fail($"{launch} does not fit {device.SharedBytesPerBlock:N0} bytes of shared memory less {OwnSharedBytes(launch):N0} of the kernel's own.");
    }

    // At least what the source declares beside what the launch asks for; CudaCompilationTests compares with compiled kernels.
    internal static int OwnSharedBytes(KernelLaunch launch)
    {
        KernelConstants constants = launch.Code.Constants;
        return (launch.Code.Source, launch.Kernel) switch
        {
            ("gemv", _) => 4 * constants.Rows * constants.Shape.A,
            // Barriers, sums of squares, and what aligns the ring behind them.
            ("few_rows", _) => (16 * constants.Shape.C) + (32 * constants.Shape.A) + 128,
            // Barriers, factors of norms, and what aligns the rings behind them.
            ("skinny" or "experts_skinny" or "experts_tiles" or "attention_wgmma" or "gemm", _) => 1024,
            ("attention_split", _) => (2 * constants.Group * (constants.HeadDim + 8)) + (4 * constants.HeadDim) + (constants.Shape.A == 0 ? 128 : 0) + (32 * constants.Group) + 128,
            ("attention_tiles", _) => 128,
            ("attention", _) => 16 * (constants.HeadDim + 32),
            ("experts_route", _) => 144,
            ("matmul", _) => 8704,
            ("sample", "sample") => 42000,
            ("rows" or "log_probabilities" or "sample", _) => 512,
            _ => 0,
        };
    }

    // Of the largest box that a kernel's tensor maps have.
    private static int BoxRows(KernelLaunch launch)
    {
        KernelConstants constants = launch.Code.Constants;
        return launch.Code.Source switch
        {
            "skinny" => Math.Max(constants.Gated ? constants.Shape.A / 2 : constants.Shape.A, constants.Shape.B),
            "experts_tiles" => constants.Gated ? constants.Shape.A / 2 : constants.Shape.A,
            _ => 0,
        };
    }

    private static string Llama(int hidden, int mlp, int heads, int kvHeads, int vocabulary, int headDim = 0) => $$"""
        {"architectures": ["LlamaForCausalLM"], "vocab_size": {{vocabulary}}, "hidden_size": {{hidden}}, "intermediate_size": {{mlp}}, "num_hidden_layers": 1, "num_attention_heads": {{heads}},
         "num_key_value_heads": {{kvHeads}}, "head_dim": {{(headDim == 0 ? hidden / heads : headDim)}}, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu"}
        """;
}
