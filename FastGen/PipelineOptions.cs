using FastGen.Compute;
using Microsoft.Extensions.Logging;
using Microsoft.ML.Tokenizers;

namespace FastGen;

/// <summary>How a pipeline is loaded. What is null is chosen at load and logged.</summary>
public sealed record PipelineOptions
{
    /// <summary>Where to compute. Default <see cref="ComputeDevice.Auto"/>.</summary>
    public ComputeDevice Device { get; init; }

    /// <summary>
    /// Storage of the weights in memory, and on CUDA of the cache and of what enters products; null keeps the type that most weights have in the checkpoint.
    /// </summary>
    /// <remarks>
    /// <see cref="Compute.DType.F16"/> for a BF16 checkpoint makes logits on CUDA more exact, since 11 significant bits are kept instead of 8, in the same
    /// memory; on the CPU, which computes in F32, it gains nothing. The range of F16 ends at ±65,504: weights beyond it are refused at load by name, and activations are cut off
    /// there (by FastGen's own kernels; cuBLASLt's need not), so that a model with larger ones needs BF16 or F32. Weights below 6·10⁻⁵ keep fewer digits.
    /// </remarks>
    public DType? DType { get; init; }

    /// <summary>Threads that compute on the CPU; null takes one for each physical core.</summary>
    public int? Threads { get; init; }

    /// <summary>
    /// Whether logits, and with them tokens, are the same bits whatever shares a step with a request: alone or in a batch, its prompt in one chunk or many,
    /// restarted or not. Default false. On the CPU that holds always; on CUDA it costs speed (see <see cref="Kernels.Cuda.CudaOptions.Deterministic"/>).
    /// </summary>
    public bool Deterministic { get; init; }

    /// <summary>Sizes of the engine: context, token budget, cache, sequences at once.</summary>
    public EngineOptions Engine { get; init; } = new();

    /// <summary>
    /// Takes the place of the tokenizer in the model's folder; null loads that one. <see cref="Prompt.AddSpecialTokens"/> turns off the special tokens of FastGen's own
    /// tokenizers and of a <see cref="SentencePieceTokenizer"/>; any other adds those that it was made to add.
    /// </summary>
    public Tokenizer? Tokenizer { get; init; }

    /// <summary>Where choices and failures are logged (never prompts or texts); null for nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}
