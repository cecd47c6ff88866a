using System.Text.Json.Nodes;

namespace FastGen.Models;

/// <summary>What a chat template gets besides the messages.</summary>
public sealed record ChatTemplateOptions
{
    /// <summary>Descriptions of the functions that the model may call, in the form <c>{"type": "function", "function": {…}}</c>. Null: the template sees <c>none</c>.</summary>
    public JsonArray? Tools { get; init; }

    /// <summary>Documents to answer from. Null: the template sees <c>none</c>.</summary>
    public JsonArray? Documents { get; init; }

    /// <summary>
    /// Whether the text ends with the head of an assistant's message, so that the model answers rather than goes on with the user's text. Default true.
    /// Without effect when <see cref="ContinueFinalMessage"/> is set.
    /// </summary>
    public bool AddGenerationPrompt { get; init; } = true;

    /// <summary>Whether the text ends inside the last message, without its end marker, so that the model goes on with it. Default false.</summary>
    public bool ContinueFinalMessage { get; init; }

    /// <summary>
    /// Further variables of the template, such as <c>enable_thinking</c>. They win over the special tokens of the model folder,
    /// and not over the messages and the options above.
    /// </summary>
    public IReadOnlyDictionary<string, JsonNode?>? Variables { get; init; }

    /// <summary>Gives <c>strftime_now</c> the local time. Default: the system's.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;
}
