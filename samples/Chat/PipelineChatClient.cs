using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;

namespace FastGen.Samples;

/// <summary>
/// A pipeline as an <see cref="IChatClient"/> of Microsoft.Extensions.AI: copy this file into a program that wants one. The model's own chat template makes the
/// prompt. Any number of threads may use it at once. What it cannot do (tools, structured answers, degrees of reasoning, kept conversations) it refuses rather than ignores.
/// </summary>
/// <param name="pipeline">Stays the caller's: disposing the client leaves it alone.</param>
/// <param name="modelId">The name under which the model appears in responses.</param>
public sealed class PipelineChatClient(Pipeline pipeline, string modelId) : IChatClient
{
    private readonly ChatClientMetadata _metadata = new("fastgen", defaultModelId: modelId);

    /// <inheritdoc/>
    public async Task<ChatResponse> GetResponseAsync(IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        GenerationResult result = await pipeline.ChatAsync(Conversation(messages, options), Sampling(options), cancellationToken: cancellationToken).ConfigureAwait(false);
        return new ChatResponse(new Microsoft.Extensions.AI.ChatMessage(ChatRole.Assistant, result.Text))
        {
            ResponseId = Guid.NewGuid().ToString("N"),
            ModelId = modelId,
            CreatedAt = DateTimeOffset.UtcNow,
            FinishReason = Reason(result),
            Usage = Usage(result),
            RawRepresentation = result,
        };
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        string id = Guid.NewGuid().ToString("N");
        await foreach (GenerationPiece piece in pipeline.ChatStreamAsync(Conversation(messages, options), Sampling(options), cancellationToken: cancellationToken).ConfigureAwait(false))
        {
            ChatResponseUpdate update = new(ChatRole.Assistant, piece.Text)
            {
                ResponseId = id,
                MessageId = id,
                ModelId = modelId,
                CreatedAt = DateTimeOffset.UtcNow,
                RawRepresentation = piece,
            };
            if (piece.Result is { } result)
            {
                update.FinishReason = Reason(result);
                update.Contents.Add(new UsageContent(Usage(result)));
            }
            yield return update;
        }
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        if (serviceKey is not null) return null;
        if (serviceType == typeof(ChatClientMetadata)) return _metadata;
        return serviceType.IsInstanceOfType(this) ? this : serviceType.IsInstanceOfType(pipeline) ? pipeline : null;
    }

    /// <summary>Does nothing: the pipeline is the caller's.</summary>
    public void Dispose()
    {
    }

    private static List<ChatMessage> Conversation(IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options)
    {
        ArgumentNullException.ThrowIfNull(messages);
        List<ChatMessage> conversation = [];
        if (!string.IsNullOrEmpty(options?.Instructions)) conversation.Add(new ChatMessage(ChatRole.System.Value, options.Instructions));
        foreach (Microsoft.Extensions.AI.ChatMessage message in messages)
        {
            if (message.Contents.FirstOrDefault(content => content is not (TextContent or TextReasoningContent)) is { } other)
            {
                throw new NotSupportedException($"A message of role '{message.Role}' holds {other.GetType().Name}; this client takes text.");
            }
            conversation.Add(new ChatMessage(message.Role.Value, message.Text) { Name = message.AuthorName });
        }
        return conversation;
    }

    // What the caller does not say stays as SamplingParameters of their own have it, else as the model's generation_config.json does.
    private SamplingParameters Sampling(ChatOptions? options)
    {
        if (options is null) return pipeline.DefaultSampling;
        Refuse(options.Tools is { Count: > 0 }, nameof(ChatOptions.Tools), "call Pipeline.Chat with ChatTemplateOptions.Tools and read the calls from the text");
        Refuse(options.ResponseFormat is not (null or ChatResponseFormatText), nameof(ChatOptions.ResponseFormat), "ask for the form in the prompt");
        Refuse(options.Reasoning is not null, nameof(ChatOptions.Reasoning), "call Pipeline.Chat with the variable of the model's template in ChatTemplateOptions.Variables");
        Refuse(options.ConversationId is not null, nameof(ChatOptions.ConversationId), "send the whole conversation each time");
        Refuse(options.ContinuationToken is not null, nameof(ChatOptions.ContinuationToken), "send the request anew");
        SamplingParameters sampling = options.RawRepresentationFactory?.Invoke(this) as SamplingParameters ?? pipeline.DefaultSampling;
        return sampling with
        {
            Temperature = options.Temperature ?? sampling.Temperature,
            TopP = options.TopP ?? sampling.TopP,
            TopK = options.TopK ?? sampling.TopK,
            PresencePenalty = options.PresencePenalty ?? sampling.PresencePenalty,
            FrequencyPenalty = options.FrequencyPenalty ?? sampling.FrequencyPenalty,
            Seed = (ulong?)options.Seed ?? sampling.Seed,
            MaxNewTokens = options.MaxOutputTokens ?? sampling.MaxNewTokens,
            StopStrings = options.StopSequences is { } stops ? [.. stops] : sampling.StopStrings,
        };
    }

    private static void Refuse(bool isAsked, string option, string remedy)
    {
        if (isAsked) throw new NotSupportedException($"{nameof(ChatOptions)}.{option} is not supported by this client; {remedy}.");
    }

    private static ChatFinishReason Reason(GenerationResult result) => result.FinishReason == FinishReason.Length ? ChatFinishReason.Length : ChatFinishReason.Stop;

    private static UsageDetails Usage(GenerationResult result) => new()
    {
        InputTokenCount = result.PromptTokens,
        OutputTokenCount = result.GeneratedTokens,
        TotalTokenCount = result.PromptTokens + result.GeneratedTokens,
    };
}
