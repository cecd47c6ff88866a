using System.Text.Json.Nodes;
using FastGen.Models.Jinja;

namespace FastGen.Models;

/// <summary>
/// A model's chat template: it writes a conversation as the one text that the model was trained on. The template language is Jinja
/// as Hugging Face transformers sets it up (Jinja2 3.1, immutable sandbox, trimmed blocks, <c>break</c> and <c>continue</c>,
/// <c>tojson</c> without HTML escapes, <c>raise_exception</c>, <c>strftime_now</c>). The engine is FastGen's own: the maintained template
/// libraries of NuGet (Scriban, Fluid, Handlebars) speak other languages, and its Jinja ports have no users or tests on chat templates.
/// </summary>
/// <remarks>
/// A template is code from a checkpoint, so a rendering is bounded in steps, in the length of text and in depth; what goes beyond fails with
/// <see cref="ChatTemplateFault.Limit"/>. A parsed template is immutable and may render on several threads at once.
/// </remarks>
public sealed class ChatTemplate
{
    private const int MaxTemplateLength = 1024 * 1024;

    private readonly IReadOnlyList<Statement> _statements;
    private readonly FrameLayout _layout;
    private readonly IReadOnlyDictionary<string, JsonNode?> _specialTokens;

    private ChatTemplate(string source, IReadOnlyList<Statement> statements, FrameLayout layout, IReadOnlyDictionary<string, JsonNode?> specialTokens)
    {
        Source = source;
        _statements = statements;
        _layout = layout;
        _specialTokens = specialTokens;
    }

    /// <summary>The template's text.</summary>
    public string Source { get; }

    /// <summary>The template for conversations with tools, where the model has another one for them; else null. <see cref="Render(IReadOnlyList{ChatMessage}, ChatTemplateOptions?)"/> takes it by itself.</summary>
    public ChatTemplate? ToolUse { get; private init; }

    /// <summary>Parses a template.</summary>
    /// <param name="template">Jinja source.</param>
    /// <param name="specialTokens">Variables that the model's tokenizer gives every rendering, such as <c>bos_token</c> and <c>eos_token</c>.</param>
    /// <exception cref="ChatTemplateException">The source is not a valid template; the message names the line and what was expected.</exception>
    public static ChatTemplate Parse(string template, IReadOnlyDictionary<string, JsonNode?>? specialTokens = null)
    {
        ArgumentNullException.ThrowIfNull(template);
        return ParseNamed(template, specialTokens ?? new Dictionary<string, JsonNode?>(), "The chat template");
    }

    /// <summary>
    /// Loads the template of a model folder, and the special tokens that <c>tokenizer_config.json</c> names. A template file
    /// (<c>chat_template.jinja</c>, <c>additional_chat_templates/NAME.jinja</c>) wins over <c>chat_template.json</c>, and that over <c>tokenizer_config.json</c>.
    /// </summary>
    /// <param name="modelFolder">Folder of the checkpoint.</param>
    /// <param name="name">One of several templates. Null: the default one, with the one named <c>tool_use</c> for conversations with tools.</param>
    /// <returns>The template, or null when the folder has none: then pass a template of the model's family to <see cref="Parse"/>, or write the prompt by hand.</returns>
    /// <exception cref="DirectoryNotFoundException">There is no such folder.</exception>
    /// <exception cref="ChatTemplateException">A file is not valid, no template is the default one, or none is called <paramref name="name"/>.</exception>
    public static ChatTemplate? Load(string modelFolder, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(modelFolder);
        ChatTemplateFiles files = ChatTemplateFiles.Read(modelFolder);
        if (files.Templates.Count == 0 && name is null) return null;
        ChatTemplate? toolUse = name is null && files.Templates.TryGetValue("tool_use", out TemplateSource? source) ? ParseFile(source, files.SpecialTokens) : null;
        ChatTemplate chosen = ParseFile(files.Choose(name), files.SpecialTokens);
        return toolUse is null ? chosen : new ChatTemplate(chosen.Source, chosen._statements, chosen._layout, chosen._specialTokens) { ToolUse = toolUse };
    }

    /// <summary>Writes <paramref name="messages"/> as one text.</summary>
    /// <exception cref="ArgumentException">A message is null.</exception>
    /// <exception cref="ChatTemplateException">The template refuses the conversation, fails, or exceeds what a rendering may use.</exception>
    public string Render(IReadOnlyList<ChatMessage> messages, ChatTemplateOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        JsonNode[] json = [.. messages.Select((message, i) => message?.ToJson() ?? throw new ArgumentException($"{nameof(messages)}[{i}] is null; leave it out.", nameof(messages)))];
        return RenderJson(new JsonArray(json), options);
    }

    /// <summary>Writes messages given as JSON objects, in the form of Hugging Face's and OpenAI's APIs, as one text.</summary>
    /// <exception cref="ChatTemplateException">The template refuses the conversation, fails, or exceeds what a rendering may use.</exception>
    public string RenderJson(JsonArray messages, ChatTemplateOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(messages);
        options ??= new ChatTemplateOptions();
        if (options.Tools is not null && ToolUse is not null) return ToolUse.RenderJson(messages, options);
        return options.ContinueFinalMessage ? FinalMessage.Continue(messages, marked => RenderOnce(marked, options)) : RenderOnce(messages, options);
    }

    private static ChatTemplate ParseFile(TemplateSource source, IReadOnlyDictionary<string, JsonNode?> specialTokens) => ParseNamed(source.Text, specialTokens, $"The chat template of '{source.File}'");

    private static ChatTemplate ParseNamed(string template, IReadOnlyDictionary<string, JsonNode?> specialTokens, string subject) => Guard("parse", () =>
    {
        if (template.Length > MaxTemplateLength) throw TemplateError.Limit($"The template has {template.Length} characters; at most {MaxTemplateLength} are read.");
        IReadOnlyList<Statement> statements = StatementParser.Parse(template);
        return new ChatTemplate(template, statements, ScopeResolver.ResolveTemplate(statements), specialTokens);
    }, subject);

    private string RenderOnce(JsonArray messages, ChatTemplateOptions options) => Guard("render", () =>
    {
        Dictionary<string, object?> context = Globals.Create(options.TimeProvider);
        foreach ((string name, JsonNode? value) in _specialTokens) context[name] = JsonValues.From(value);
        foreach ((string name, JsonNode? value) in options.Variables ?? new Dictionary<string, JsonNode?>()) context[name] = JsonValues.From(value);
        context["messages"] = JsonValues.From(messages);
        context["tools"] = JsonValues.From(options.Tools);
        context["documents"] = JsonValues.From(options.Documents);
        context["add_generation_prompt"] = options.AddGenerationPrompt && !options.ContinueFinalMessage;
        return Render(context);
    });

    /// <summary>Renders with the engine's values, the globals among them.</summary>
    internal string Render(IReadOnlyDictionary<string, object?> context) => Guard("render", () => Interpreter.Render(_statements, _layout, context));

    private static T Guard<T>(string verb, Func<T> action, string subject = "The chat template")
    {
        try
        {
            return action();
        }
        catch (TemplateError error)
        {
            string reason = error.Fault == ChatTemplateFault.Evaluation ? $"{error.Kind}: {error.Reason}" : error.Reason;
            string where = error.Line is int line ? $" (line {line})" : "";
            string what = error.Fault switch
            {
                ChatTemplateFault.Rejected => $"{subject} refuses this conversation",
                ChatTemplateFault.Syntax => $"{subject} is not valid",
                ChatTemplateFault.Limit => $"{subject} asks for too much to {verb}",
                _ => $"{subject} failed to {verb}",
            };
            throw new ChatTemplateException($"{what}{where}: {reason}", error.Fault, reason, error.Line, error);
        }
    }
}
