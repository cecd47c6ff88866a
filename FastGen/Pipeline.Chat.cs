using FastGen.Models;

namespace FastGen;

public sealed partial class Pipeline
{
    // Read at first use: a template that cannot be read is no hindrance to plain prompts.
    private readonly Lazy<ChatTemplate?> _chatTemplate;

    /// <summary>The model's chat template; null where its folder has none.</summary>
    /// <exception cref="ChatTemplateException">The template cannot be read.</exception>
    /// <exception cref="DirectoryNotFoundException">The model's folder is gone by the time of the first use.</exception>
    public ChatTemplate? ChatTemplate => _chatTemplate.Value;

    /// <summary>The prompt that the model's chat template makes of a conversation, for <see cref="Generate(Prompt, SamplingParameters, CancellationToken)"/> and its kin.</summary>
    /// <param name="messages">The conversation so far.</param>
    /// <param name="options">Tools, documents and variables for the template; null for a plain answer.</param>
    /// <exception cref="InvalidOperationException">The model has no chat template.</exception>
    /// <exception cref="ChatTemplateException">The template refuses the conversation, or cannot be run.</exception>
    public Prompt ToPrompt(IReadOnlyList<ChatMessage> messages, ChatTemplateOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        if (ChatTemplate is null)
        {
            throw new InvalidOperationException(
                "The model's folder has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json). " +
                "Write the prompt yourself, render one with ChatTemplate.Parse, or take a model that was trained for chat.");
        }
        // A chat template writes the special tokens itself.
        return Prompt.FromText(ChatTemplate.Render(messages, options), addSpecialTokens: false);
    }

    /// <summary>Answers a conversation and waits.</summary>
    /// <inheritdoc cref="ToPrompt(IReadOnlyList{ChatMessage}, ChatTemplateOptions)"/>
    /// <inheritdoc cref="GenerateAsync(Prompt, SamplingParameters, CancellationToken)" path="/param[@name='sampling' or @name='cancellationToken'] | /exception"/>
    public GenerationResult Chat(IReadOnlyList<ChatMessage> messages, SamplingParameters? sampling = null, ChatTemplateOptions? options = null, CancellationToken cancellationToken = default) =>
        Generate(ToPrompt(messages, options), sampling, cancellationToken);

    /// <summary>Answers a conversation.</summary>
    /// <inheritdoc cref="ToPrompt(IReadOnlyList{ChatMessage}, ChatTemplateOptions)"/>
    /// <inheritdoc cref="GenerateAsync(Prompt, SamplingParameters, CancellationToken)" path="/param[@name='sampling' or @name='cancellationToken'] | /exception"/>
    public Task<GenerationResult> ChatAsync(IReadOnlyList<ChatMessage> messages, SamplingParameters? sampling = null, ChatTemplateOptions? options = null, CancellationToken cancellationToken = default) =>
        GenerateAsync(ToPrompt(messages, options), sampling, cancellationToken);

    /// <summary>Answers a conversation and gives the text as it comes; see <see cref="StreamAsync"/>. The template runs at once.</summary>
    /// <inheritdoc cref="ToPrompt(IReadOnlyList{ChatMessage}, ChatTemplateOptions)"/>
    /// <inheritdoc cref="GenerateAsync(Prompt, SamplingParameters, CancellationToken)" path="/param[@name='sampling' or @name='cancellationToken'] | /exception"/>
    public IAsyncEnumerable<GenerationPiece> ChatStreamAsync(IReadOnlyList<ChatMessage> messages, SamplingParameters? sampling = null, ChatTemplateOptions? options = null, CancellationToken cancellationToken = default) =>
        StreamAsync(ToPrompt(messages, options), sampling, cancellationToken);
}
