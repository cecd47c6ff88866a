namespace FastGen.Models;

/// <summary>Why a chat template failed.</summary>
public enum ChatTemplateFault
{
    /// <summary>A file of the model folder that should hold a template cannot be read or understood.</summary>
    File,

    /// <summary>The template is not valid Jinja, or uses a tag, filter or test that chat templates do not have.</summary>
    Syntax,

    /// <summary>The template itself refused the conversation, by <c>raise_exception</c>.</summary>
    Rejected,

    /// <summary>Rendering failed: an undefined value was used, types did not fit, …</summary>
    Evaluation,

    /// <summary>An option does not fit the conversation or the template.</summary>
    Request,

    /// <summary>Template and conversation need more steps, memory or depth than one rendering may use.</summary>
    Limit,
}

/// <summary>A chat template cannot be loaded, parsed or rendered.</summary>
public sealed class ChatTemplateException : Exception
{
    internal ChatTemplateException(string message, ChatTemplateFault fault, string reason, int? line, Exception? inner = null) : base(message, inner)
    {
        Fault = fault;
        Reason = reason;
        Line = line;
    }

    /// <summary>What kind of failure it is.</summary>
    public ChatTemplateFault Fault { get; }

    /// <summary>
    /// The bare reason: what <c>raise_exception</c> was given, or Jinja's error with its Python type in front
    /// (<c>TypeError: 'NoneType' object is not iterable</c>). The message adds where it happened.
    /// </summary>
    public string Reason { get; }

    /// <summary>Line of the template, 1-based, if known.</summary>
    public int? Line { get; }
}
