using System.Numerics;

namespace FastGen.Models.Jinja;

/// <summary>Which Python type a value stands for. None is null; int is <see cref="long"/> or <see cref="BigInteger"/>; str is <see cref="string"/>.</summary>
internal static class PythonTypes
{
    public static string Name(object? value) => value switch
    {
        null => "NoneType",
        bool => "bool",
        long or BigInteger => "int",
        double => "float",
        string => "str",
        Markup => "Markup",
        PythonList => "list",
        PythonTuple { Names: not null } => "_GroupTuple",
        PythonTuple => "tuple",
        PythonDict => "dict",
        DictView view => view.Part switch { DictPart.Keys => "dict_keys", DictPart.Values => "dict_values", _ => "dict_items" },
        PythonRange => "range",
        PythonIterator iterator => iterator.TypeName,
        Undefined => "Undefined",
        JinjaNamespace => "Namespace",
        LoopContext => "LoopContext",
        Callable callable => callable.TypeName,
        _ => value.GetType().Name,
    };

    /// <summary>The type in the words of Jinja's messages about absent members.</summary>
    public static string Describe(object? value) => value switch
    {
        null => "None",
        Markup => "markupsafe.Markup object",
        JinjaNamespace => "jinja2.utils.Namespace object",
        LoopContext => "jinja2.runtime.LoopContext object",
        Macro => "jinja2.runtime.Macro object",
        PythonTuple { Names: not null } => "jinja2.filters._GroupTuple object",
        _ => Name(value) + " object",
    };

    public static bool IsText(object? value) => value is string or Markup;

    /// <summary>The text of a str, or null for another type.</summary>
    public static string? TextOf(object? value) => value switch
    {
        string text => text,
        Markup markup => markup.Text,
        _ => null,
    };

    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool flag => flag,
        long integer => integer != 0,
        BigInteger integer => !integer.IsZero,
        double number => number != 0,
        string text => text.Length > 0,
        Markup markup => markup.Text.Length > 0,
        LoopContext loop => loop.Length > 0,
        _ => Length(value) is not 0,
    };

    /// <summary>The length of a collection or a text (in code points), or null for what has none.</summary>
    public static int? Length(object? value) => value switch
    {
        string text => CodePoints.Count(text),
        Markup markup => CodePoints.Count(markup.Text),
        PythonList list => list.Items.Count,
        PythonTuple tuple => tuple.Items.Count,
        PythonDict dict => dict.Count,
        DictView view => view.Dict.Count,
        PythonRange range => range.Length,
        LoopContext loop => loop.Length,
        Undefined => 0,
        _ => null,
    };

    /// <summary>The elements that a loop over the value sees, or null for what cannot be iterated.</summary>
    public static IEnumerable<object?>? TryIterate(object? value) => value switch
    {
        string text => CodePoints.Split(text),
        Markup markup => CodePoints.Split(markup.Text),
        PythonList list => list.Items,
        PythonTuple tuple => tuple.Items,
        PythonDict dict => dict.Keys,
        DictView view => view.Elements,
        PythonRange range => range.Elements,
        PythonIterator iterator => iterator.Rest(),
        LoopContext loop => loop.Rest(),
        Undefined => [],
        _ => null,
    };

    public static IEnumerable<object?> Iterate(object? value) => TryIterate(value) ?? throw TemplateError.Type($"'{Name(value)}' object is not iterable");

    /// <summary>All elements of an iterable, at the budget's expense.</summary>
    public static List<object?> ToList(object? value, RenderBudget budget)
    {
        List<object?> items = [];
        foreach (object? item in Iterate(value))
        {
            budget.Items(1);
            items.Add(item);
            if (items.Count > RenderBudget.MaxItems) budget.Items(items.Count);
        }
        return items;
    }
}
