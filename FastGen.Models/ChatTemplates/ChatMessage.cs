using System.Text.Json.Nodes;

namespace FastGen;

/// <summary>
/// One message of a conversation, as a chat template sees it. Templates put content into the prompt as it is, and as in Hugging Face transformers the text of a special token
/// (such as <c>&lt;|im_end|&gt;</c>) in it becomes that token: take it out of what others wrote.
/// </summary>
/// <param name="Role">Who speaks: usually <c>system</c>, <c>user</c>, <c>assistant</c> or <c>tool</c>. The template decides which it knows.</param>
/// <param name="Content">The text; null for an assistant's message that only calls tools.</param>
public sealed record ChatMessage(string Role, string? Content)
{
    /// <summary>Content in parts, such as <c>{"type": "text", "text": "…"}</c>. When set, the template gets this list as <c>content</c> instead of <see cref="Content"/>.</summary>
    public JsonArray? Parts { get; init; }

    /// <summary>Name of the speaker or of the tool that answers.</summary>
    public string? Name { get; init; }

    /// <summary>An assistant's calls: <c>[{"type": "function", "function": {"name": "…", "arguments": {…}}}]</c>.</summary>
    public JsonArray? ToolCalls { get; init; }

    /// <summary>Id of the call that a <c>tool</c> message answers.</summary>
    public string? ToolCallId { get; init; }

    /// <summary>Further fields for the template, such as <c>reasoning_content</c>.</summary>
    public IReadOnlyDictionary<string, JsonNode?>? Extra { get; init; }

    /// <summary>The message as a JSON object: <c>role</c>, <c>content</c>, then the fields that are set.</summary>
    public JsonObject ToJson()
    {
        JsonObject message = new() { ["role"] = Role, ["content"] = Parts is null ? Content : Parts.DeepClone() };
        if (Name is not null) message["name"] = Name;
        if (ToolCalls is not null) message["tool_calls"] = ToolCalls.DeepClone();
        if (ToolCallId is not null) message["tool_call_id"] = ToolCallId;
        foreach ((string field, JsonNode? value) in Extra ?? new Dictionary<string, JsonNode?>()) message[field] = value?.DeepClone();
        return message;
    }
}
