namespace FastGen.Models.Jinja;

/// <summary>What a missing name or attribute yields: prints as nothing, is false and empty, and fails when anything else is asked of it.</summary>
internal sealed class Undefined
{
    private readonly Func<TemplateError> _error;

    private Undefined(Func<TemplateError> error) => _error = error;

    public static Undefined Hint(string hint) => new(() => TemplateError.Evaluation("UndefinedError", hint));

    public static Undefined Name(string name) => new(() => TemplateError.Evaluation("UndefinedError", $"'{name}' is undefined"));

    public static Undefined Unsafe(object? target, string attribute) =>
        new(() => TemplateError.Evaluation("SecurityError", $"access to attribute '{attribute}' of '{PythonTypes.Name(target)}' object is unsafe."));

    /// <summary>An absent attribute or element of <paramref name="target"/>.</summary>
    public static Undefined Member(object? target, object? key, RenderBudget budget) => new(() => TemplateError.Evaluation("UndefinedError", key is string or Markup
        ? $"'{PythonTypes.Describe(target)}' has no attribute {PythonText.Repr(key, budget)}"
        : $"{PythonTypes.Describe(target)} has no element {PythonText.Repr(key, budget)}"));

    public TemplateError Error() => _error();
}

/// <summary>Text that counts as escaped HTML (<c>safe</c>, <c>escape</c>): what is added to it gets escaped.</summary>
internal sealed class Markup(string text)
{
    public string Text { get; } = text;

    public static string Escape(string text) => text
        .Replace("&", "&amp;", StringComparison.Ordinal)
        .Replace(">", "&gt;", StringComparison.Ordinal)
        .Replace("<", "&lt;", StringComparison.Ordinal)
        .Replace("'", "&#39;", StringComparison.Ordinal)
        .Replace("\"", "&#34;", StringComparison.Ordinal);

    /// <summary>The text of <paramref name="value"/>, escaped unless it is markup already.</summary>
    public static string Escape(object? value, RenderBudget budget) => value is Markup markup ? markup.Text : budget.Made(Escape(PythonText.Str(value, budget)));
}
