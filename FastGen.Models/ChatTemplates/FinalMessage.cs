using System.Text.Json.Nodes;

namespace FastGen.Models;

/// <summary>Cuts a rendered conversation inside its last message, so that the model goes on with it.</summary>
internal static class FinalMessage
{
    // The trailing space shows whether the template trims its messages.
    private const string Mark = "CONTINUE_FINAL_MESSAGE_MARK ";

    public static string Continue(JsonArray messages, Func<JsonArray, string> render)
    {
        JsonArray marked = (JsonArray)messages.DeepClone();
        if (!TryMarkLast(marked))
        {
            throw Invalid("ContinueFinalMessage is set, but the last message has no text to continue. Give it text, or leave the option out.");
        }
        string rendered = render(marked);
        int at = rendered.LastIndexOf(Mark.TrimEnd(), StringComparison.Ordinal);
        if (at < 0)
        {
            throw Invalid("ContinueFinalMessage is set, but the chat template does not write the last message as it is. Leave the option out for this template.");
        }
        return rendered.AsSpan(at).StartsWith(Mark, StringComparison.Ordinal) ? rendered[..at] : rendered[..at].TrimEnd();
    }

    private static ChatTemplateException Invalid(string message) => new(message, ChatTemplateFault.Request, message, null);

    private static bool TryMarkLast(JsonArray messages)
    {
        try
        {
            return messages.Count > 0 && messages[^1] is JsonObject message && TryMark(message);
        }
        catch (Exception exception) when (exception is InvalidOperationException or ArgumentException)
        {
            throw Invalid($"ContinueFinalMessage is set, but the last message's JSON cannot be read ({exception.Message}).");
        }
    }

    private static bool TryMark(JsonObject message)
    {
        if (message["content"] is JsonArray parts)
        {
            JsonObject? text = parts.OfType<JsonObject>().LastOrDefault(part => part.ContainsKey("text"));
            return text is not null && TryAppend(text, "text");
        }
        return TryAppend(message, "content");
    }

    private static bool TryAppend(JsonObject holder, string field)
    {
        if (holder[field] is not JsonValue value || !value.TryGetValue(out string? text)) return false;
        holder[field] = text + Mark;
        return true;
    }
}
