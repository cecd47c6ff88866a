namespace FastGen.Models.Jinja;

/// <summary>
/// An error inside the engine, before <see cref="ChatTemplate"/> turns it into a <see cref="ChatTemplateException"/>.
/// <see cref="Kind"/> is the name that Python gives such an error.
/// </summary>
internal sealed class TemplateError(ChatTemplateFault fault, string kind, string reason, int? line = null) : Exception(reason)
{
    public ChatTemplateFault Fault { get; } = fault;
    public string Kind { get; } = kind;
    public string Reason { get; } = reason;

    /// <summary>Line of the template, 1-based; the innermost statement that failed sets it.</summary>
    public int? Line { get; set; } = line;

    public static TemplateError Syntax(string reason, int line) => new(ChatTemplateFault.Syntax, "TemplateSyntaxError", reason, line);
    public static TemplateError Rejected(string reason) => new(ChatTemplateFault.Rejected, "TemplateError", reason);
    public static TemplateError Limit(string reason) => new(ChatTemplateFault.Limit, "LimitError", reason);
    public static TemplateError Type(string reason) => Evaluation("TypeError", reason);
    public static TemplateError Value(string reason) => Evaluation("ValueError", reason);
    public static TemplateError Argument(string reason) => Evaluation("FilterArgumentError", reason);
    public static TemplateError Runtime(string reason) => Evaluation("TemplateRuntimeError", reason);
    public static TemplateError Evaluation(string kind, string reason) => new(ChatTemplateFault.Evaluation, kind, reason);
}
