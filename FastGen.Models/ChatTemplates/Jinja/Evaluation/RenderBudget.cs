using System.Runtime.CompilerServices;

namespace FastGen.Models.Jinja;

/// <summary>
/// What one rendering may spend, so that no template can hang or exhaust the process. A step is the evaluation of a node, of an element
/// of a collection, or of <see cref="CharactersPerStep"/> characters of text.
/// </summary>
internal sealed class RenderBudget
{
    public const int MaxSteps = 20_000_000;
    public const int MaxTextLength = 16 * 1024 * 1024;
    public const int MaxItems = 1_000_000;
    private const int CharactersPerStep = 16;

    /// <summary>What an operation on an int of thousands of digits costs.</summary>
    public const int LargeIntegerSteps = 64;

    private long _left = MaxSteps;

    public void Step(long steps = 1)
    {
        _left -= steps;
        if (_left < 0) throw TemplateError.Limit($"Rendering took more than {MaxSteps} steps. Simplify the template or shorten the conversation.");
    }

    /// <summary>Pays for reading or writing a text of <paramref name="length"/> characters, and refuses one that is too long.</summary>
    public void Text(long length)
    {
        if (length > MaxTextLength) throw TemplateError.Limit($"Rendering made a text longer than {MaxTextLength} characters.");
        Step(length / CharactersPerStep);
    }

    /// <summary>Pays for the growth of a text that is being written, and refuses it when it got too long.</summary>
    public void Grown(long before, long after)
    {
        if (after > MaxTextLength) Text(after);
        Text(after - before);
    }

    public string Made(string text)
    {
        Text(text.Length);
        return text;
    }

    /// <summary>Pays for a collection of <paramref name="count"/> elements, and refuses one that is too large.</summary>
    public void Items(long count)
    {
        if (count > MaxItems) throw TemplateError.Limit($"Rendering made a list of more than {MaxItems} elements.");
        Step(count);
    }

    /// <summary>Pays for hashing a dictionary's key.</summary>
    public void Key(object? key) => Step(HashSteps(key));

    /// <summary>What hashing a value costs.</summary>
    public static long HashSteps(object? key) => key is PythonTuple tuple ? tuple.HashSteps : 1 + (PythonTypes.TextOf(key)?.Length ?? 0) / CharactersPerStep;

    /// <summary>Pays for searching <paramref name="needle"/> in <paramref name="text"/>, whose worst case is their product.</summary>
    public void Search(string text, string needle) => Step((text.Length + (long)text.Length * needle.Length / 64) / CharactersPerStep);

    /// <summary>Refuses to go deeper when the thread's stack is nearly used up. Every walk over nodes or values that calls itself asks first.</summary>
    public static void GuardStack()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw TemplateError.Limit("The template, or a value in it, nests deeper than the stack allows. Simplify it.");
        }
    }
}
