using System.Runtime.CompilerServices;
using FastGen.Compute;
using FastGen.Models;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.ML.Tokenizers;

namespace FastGen;

/// <summary>
/// A loaded model that generates text in this process. All members may be called from any number of threads at once; their prompts share
/// the steps of one engine (Dynamic SplitFuse over a paged key/value cache). Dispose it: weights and cache lie outside the managed heap, and the engine's thread
/// keeps a pipeline that nobody disposes alive as long as the process.
/// </summary>
/// <example>
/// <code>
/// using Pipeline pipeline = Pipeline.Load("path/to/model");
/// Console.WriteLine(pipeline.Generate("Once upon a time"));
/// </code>
/// </example>
public sealed partial class Pipeline : IDisposable
{
    private readonly IBackend _backend;
    private int _disposed;

    private Pipeline(IBackend backend, LoadedModel model, Tokenizer? tokenizer, Lazy<ChatTemplate?> chatTemplate, LlmEngine engine)
    {
        _backend = backend;
        Config = model.Config;
        Tokenizer = tokenizer;
        _chatTemplate = chatTemplate;
        Engine = engine;
        DefaultSampling = model.Generation.ToSamplingParameters();
        // Without text there is none to stop at.
        if (tokenizer is null) DefaultSampling = DefaultSampling with { StopStrings = [] };
    }

    /// <summary>The engine that runs the model: its sizes and statistics, and token ids without text.</summary>
    public LlmEngine Engine { get; }

    /// <summary>What the model's <c>config.json</c> says.</summary>
    public ModelConfig Config { get; }

    /// <summary>Text to ids and back; null where the folder has no tokenizer and none was given.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>
    /// What a call without sampling parameters uses: the model's <c>generation_config.json</c>, greedy where it asks for no sampling. Parameters given to a call replace all of it;
    /// <c>DefaultSampling with { … }</c> changes some.
    /// </summary>
    public SamplingParameters DefaultSampling { get; }

    /// <summary>The hardware that computes, in words.</summary>
    public string Device => _backend.Description;

    /// <summary>Loads a model folder as it lies on the Hugging Face hub: <c>config.json</c>, safetensors weights and a tokenizer.</summary>
    /// <param name="modelPath">The folder.</param>
    /// <param name="options">Null for defaults.</param>
    /// <exception cref="ModelLoadException">A file is missing or broken; the message names file, field and remedy.</exception>
    /// <exception cref="UnsupportedModelException">The model asks for what is not supported; the message names it.</exception>
    /// <exception cref="ArgumentException">An option is out of range, contradicts another, or asks for more than the model has.</exception>
    /// <exception cref="OutOfMemoryException">Weights or cache do not fit into the host's memory.</exception>
    /// <exception cref="Kernels.Cuda.CudaException">The CUDA device cannot be used, and the message says what was looked for; or its memory is too small.</exception>
    public static Pipeline Load(string modelPath, PipelineOptions? options = null) => Load(modelPath, options, null, CancellationToken.None);

    /// <summary><see cref="Load(string, PipelineOptions)"/> off the calling thread, with progress.</summary>
    /// <param name="modelPath">The folder.</param>
    /// <param name="options">Null for defaults.</param>
    /// <param name="progress">Hears of the bytes loaded, on the thread that loads; what it throws ends loading. After the last of them the engine measures its steps.</param>
    /// <param name="cancellationToken">Ends loading; everything that was allocated is freed.</param>
    /// <exception cref="OperationCanceledException">Cancelled before the pipeline was ready.</exception>
    /// <inheritdoc cref="Load(string, PipelineOptions)"/>
    public static Task<Pipeline> LoadAsync(string modelPath, PipelineOptions? options = null, IProgress<LoadProgress>? progress = null, CancellationToken cancellationToken = default) =>
        Task.Run(() => Load(modelPath, options, progress, cancellationToken), cancellationToken);

    /// <summary>Generates for one prompt and waits.</summary>
    /// <inheritdoc cref="GenerateAsync(Prompt, SamplingParameters, CancellationToken)"/>
    public GenerationResult Generate(Prompt prompt, SamplingParameters? sampling = null, CancellationToken cancellationToken = default) =>
        Generate([prompt], sampling, cancellationToken)[0];

    /// <summary>Generates for all prompts at once and waits.</summary>
    /// <inheritdoc cref="GenerateAsync(IEnumerable{Prompt}, SamplingParameters, CancellationToken)"/>
    public IReadOnlyList<GenerationResult> Generate(IEnumerable<Prompt> prompts, SamplingParameters? sampling = null, CancellationToken cancellationToken = default)
    {
        List<Generation> generations = Start(prompts, sampling);
        using CancellationTokenRegistration registration = CancelWith(generations, cancellationToken);
        try
        {
            return Complete(Generation.Run(generations), cancellationToken);
        }
        catch
        {
            Cancel(generations);
            throw;
        }
    }

    /// <summary>Generates for all texts at once and waits.</summary>
    /// <inheritdoc cref="GenerateAsync(IEnumerable{Prompt}, SamplingParameters, CancellationToken)"/>
    public IReadOnlyList<GenerationResult> Generate(IEnumerable<string> prompts, SamplingParameters? sampling = null, CancellationToken cancellationToken = default) =>
        Generate(ToPrompts(prompts), sampling, cancellationToken);

    /// <summary>Generates for one prompt.</summary>
    /// <param name="prompt">A text or token ids.</param>
    /// <param name="sampling">How to draw and when to end, unless the prompt has its own; null for <see cref="DefaultSampling"/>.</param>
    /// <param name="cancellationToken">Ends generation at the next step, also inside a long prompt.</param>
    /// <exception cref="ArgumentException">The prompt is empty or can never fit, or a parameter is out of range.</exception>
    /// <exception cref="InvalidOperationException">A text or stop strings were given, and there is no tokenizer.</exception>
    /// <exception cref="GenerationCanceledException">Cancelled; holds what was generated by then.</exception>
    /// <exception cref="GenerationException">The request failed while it ran.</exception>
    /// <exception cref="DeviceLostException">The device can no longer be used; so fails every other request.</exception>
    /// <exception cref="ObjectDisposedException">The pipeline was disposed before or meanwhile.</exception>
    public async Task<GenerationResult> GenerateAsync(Prompt prompt, SamplingParameters? sampling = null, CancellationToken cancellationToken = default)
    {
        IReadOnlyList<GenerationResult> results = await GenerateAsync([prompt], sampling, cancellationToken).ConfigureAwait(false);
        return results[0];
    }

    /// <summary>Generates for all prompts at once. Where one is refused or fails, the others end too.</summary>
    /// <returns>A result for each prompt, in their order.</returns>
    /// <inheritdoc cref="GenerateAsync(Prompt, SamplingParameters, CancellationToken)"/>
    public async Task<IReadOnlyList<GenerationResult>> GenerateAsync(IEnumerable<Prompt> prompts, SamplingParameters? sampling = null, CancellationToken cancellationToken = default)
    {
        List<Generation> generations = Start(prompts, sampling);
        using CancellationTokenRegistration registration = CancelWith(generations, cancellationToken);
        try
        {
            Task<GenerationResult>[] runs = [.. generations.Select(generation => generation.RunAsync())];
            // The first that fails ends the others.
            await foreach (Task<GenerationResult> run in Task.WhenEach(runs).ConfigureAwait(false)) await run.ConfigureAwait(false);
            return Complete(await Task.WhenAll(runs).ConfigureAwait(false), cancellationToken);
        }
        catch
        {
            Cancel(generations);
            throw;
        }
    }

    /// <summary>Generates for all texts at once. Where one is refused or fails, the others end too.</summary>
    /// <returns>A result for each prompt, in their order.</returns>
    /// <inheritdoc cref="GenerateAsync(Prompt, SamplingParameters, CancellationToken)"/>
    public Task<IReadOnlyList<GenerationResult>> GenerateAsync(IEnumerable<string> prompts, SamplingParameters? sampling = null, CancellationToken cancellationToken = default) =>
        GenerateAsync(ToPrompts(prompts), sampling, cancellationToken);

    /// <summary>
    /// Generates for one prompt and gives the text as it comes. Leaving the enumeration early ends the request and frees its cache. Nothing happens before the enumeration begins, which is
    /// where a bad argument throws; each enumeration is a request of its own.
    /// </summary>
    /// <returns>Pieces of text; the last one carries the whole result.</returns>
    /// <inheritdoc cref="GenerateAsync(Prompt, SamplingParameters, CancellationToken)"/>
    public async IAsyncEnumerable<GenerationPiece> StreamAsync(Prompt prompt, SamplingParameters? sampling = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        Generation generation = Start(prompt, sampling, isStreamed: true);
        using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(static state => ((Generation)state!).Cancel(), generation);
        try
        {
            while (await generation.ReadAsync().ConfigureAwait(false) is { } piece) yield return piece;
        }
        finally
        {
            generation.Cancel();
        }
        if (generation.Result!.FinishReason == FinishReason.Cancelled) throw new GenerationCanceledException([generation.Result], cancellationToken);
    }

    /// <summary>Ends all running requests with an <see cref="ObjectDisposedException"/> after the steps in flight, and frees the model, the cache and the threads. Disposing again does nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0) return;
        Engine.Dispose(_backend.Dispose);
    }

    private List<Generation> Start(IEnumerable<Prompt> prompts, SamplingParameters? sampling)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        List<Generation> generations = [];
        try
        {
            foreach (Prompt prompt in prompts) generations.Add(Start(prompt, sampling, isStreamed: false));
            return generations;
        }
        catch
        {
            Cancel(generations);
            throw;
        }
    }

    private Generation Start(Prompt prompt, SamplingParameters? sampling, bool isStreamed)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        sampling = prompt.Sampling ?? sampling ?? DefaultSampling;
        sampling.Validate();
        if (sampling.StopStrings.Count > 0 && Tokenizer is null) throw NoTokenizer($"{nameof(SamplingParameters.StopStrings)} need a text");
        IReadOnlyList<int> ids = prompt.TokenIds ?? Encode(prompt);
        StreamingDecoder? decoder = Tokenizer is null ? null : new StreamingDecoder(Tokenizer, sampling.StopStrings);
        return new Generation(Engine.Submit(ids as int[] ?? [.. ids], sampling, isStreamed), decoder, sampling.StopStrings.Count > 0, sampling.LogProbabilities || sampling.TopLogProbabilities > 0);
    }

    private static IEnumerable<Prompt> ToPrompts(IEnumerable<string> prompts)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        return prompts.Select(text => Prompt.FromText(text));
    }

    private static CancellationTokenRegistration CancelWith(List<Generation> generations, CancellationToken cancellationToken) =>
        cancellationToken.UnsafeRegister(static state => Cancel((List<Generation>)state!), generations);

    private static void Cancel(List<Generation> generations)
    {
        foreach (Generation generation in generations) generation.Cancel();
    }

    private static GenerationResult[] Complete(GenerationResult[] results, CancellationToken cancellationToken) =>
        Array.Exists(results, result => result.FinishReason == FinishReason.Cancelled) ? throw new GenerationCanceledException(results, cancellationToken) : results;

    private IReadOnlyList<int> Encode(Prompt prompt) => Tokenizer switch
    {
        null => throw NoTokenizer("A text prompt was given"),
        HuggingFaceTokenizer tokenizer => tokenizer.Encode(prompt.Text!, prompt.AddSpecialTokens),
        SentencePieceTokenizer tokenizer when !prompt.AddSpecialTokens => tokenizer.EncodeToIds(prompt.Text!, addBeginningOfSentence: false, addEndOfSentence: false),
        _ => Tokenizer.EncodeToIds(prompt.Text!),
    };

    private static InvalidOperationException NoTokenizer(string reason) =>
        new($"{reason}, but the model's folder has no tokenizer (tokenizer.json, tokenizer.model, vocab.json with merges.txt, or qwen.tiktoken). Give token ids instead, or a tokenizer in {nameof(PipelineOptions)}.{nameof(PipelineOptions.Tokenizer)}.");

    private static Pipeline Load(string modelPath, PipelineOptions? options, IProgress<LoadProgress>? progress, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(modelPath);
        // The chat template is read later, when the process may have another current folder.
        modelPath = Path.GetFullPath(modelPath);
        options ??= new PipelineOptions();
        ArgumentNullException.ThrowIfNull(options.Engine);
        options.Engine.Validate();
        if (options.DType is { } type && !Enum.IsDefined(type))
        {
            throw new ArgumentOutOfRangeException(nameof(options), type, $"{nameof(PipelineOptions)}.{nameof(PipelineOptions.DType)} must be one of {string.Join(", ", Enum.GetNames<DType>())}, or null.");
        }
        ILogger logger = options.LoggerFactory?.CreateLogger<Pipeline>() ?? NullLogger<Pipeline>.Instance;
        IBackend backend = options.Device.CreateBackend(options.Threads, logger, options.Deterministic);
        LlmEngine? engine = null;
        try
        {
            Tokenizer? tokenizer = options.Tokenizer ?? TokenizerLoader.TryLoad(modelPath);
            LoadedModel model = ModelLoader.Load(modelPath, backend, new ModelLoadOptions { WeightType = options.DType, Progress = progress, Logger = logger }, cancellationToken);
            engine = new LlmEngine(model.Model, model.Generation.EndOfSequenceIds, options.Engine, logger, cancellationToken);
            return new Pipeline(backend, model, tokenizer, new Lazy<ChatTemplate?>(() => ChatTemplate.Load(modelPath)), engine);
        }
        catch
        {
            engine?.Dispose();
            backend.Dispose();
            throw;
        }
    }
}
